"""Which implementation renders the views. It is recorded with a run, but is not part of its identity."""

from __future__ import annotations

import importlib.util
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.views.policy import ViewParams, ViewPolicy


class ViewBackend(Protocol):
    """Renders views of one policy."""

    name: str
    """Goes into the record of a run, for instance "torch-exact" or "dali-gpu-exact"."""
    policy: ViewPolicy
    device: torch.device
    """Where it reads images and leaves views."""

    def render(self, images: npt.NDArray[np.uint8] | torch.Tensor, params: ViewParams) -> torch.Tensor:
        """One view of each image (n, H, W, 3): float32 (n, 3, S, S), scaled by (x / 255 - 0.5) / 0.25."""
        ...

    def close(self) -> None:
        """Free threads and memory."""
        ...


def choose_views(
    policy: ViewPolicy,
    backend: Literal["auto", "torch", "dali"],
    batch: int,
    cuda: bool,
    threads: int = 1,
) -> ViewBackend:
    """A back end for a policy.

    Args:
        policy: What to render.
        backend: "auto" means DALI if there is a CUDA device and DALI is installed, else torch.
        batch: The largest number of images in one call.
        cuda: Whether to render on the current CUDA device.
        threads: How many threads share the work of the CPU back ends.

    Raises:
        DataError: The back end is unknown, or it is "dali" and DALI is not installed.
    """
    if backend not in ("auto", "torch", "dali"):
        raise DataError(f"view back end {backend!r} is unknown; use 'auto', 'torch' or 'dali'")
    # find_spec is quick; importing DALI takes seconds
    installed = (
        importlib.util.find_spec("nvidia") is not None and importlib.util.find_spec("nvidia.dali") is not None
    )
    if backend == "dali" or (backend == "auto" and cuda and installed):
        from ssl_sweep.data_ops.views.dali_views import DaliViews

        return DaliViews(policy, batch, device="gpu" if cuda else "cpu", threads=threads)
    if cuda:
        from ssl_sweep.data_ops.views.torch_device import TorchDeviceViews, gpu_index

        return TorchDeviceViews(policy, torch.device("cuda", gpu_index()))
    from ssl_sweep.data_ops.views.torch_views import TorchViews

    return TorchViews(policy, threads)
