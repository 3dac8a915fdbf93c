"""Which implementation renders the views: recorded with a run, but no part of its identity."""

from __future__ import annotations

import importlib.util
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.views.policy import ViewParams, ViewPolicy


class ViewBackend(Protocol):
    """Renders views. `name` goes into the record of a run, for instance "torch-exact" or "dali-gpu-exact"."""

    name: str
    policy: ViewPolicy

    def render(self, images: npt.NDArray[np.uint8], params: ViewParams) -> torch.Tensor:
        """One view of each image (n, H, W, 3): float32 (n, 3, S, S), scaled by (x / 255 - 0.5) / 0.25."""
        ...

    def close(self) -> None:
        """Give back threads and memory."""
        ...


def choose_views(
    policy: ViewPolicy,
    backend: Literal["auto", "torch", "dali"],
    batch: int,
    cuda: bool,
    threads: int = 1,
) -> ViewBackend:
    """The back end asked for; "auto" takes DALI where there is a CUDA device and a DALI wheel, else torch.

    `batch` is the most images of one call; `threads` share the work of the CPU back ends. Raises DataError
    for an unknown back end, or where "dali" is asked for and not installed.
    """
    if backend not in ("auto", "torch", "dali"):
        raise DataError(f"view back end {backend!r} is unknown; use 'auto', 'torch' or 'dali'")
    # find_spec asks without the seconds that importing DALI takes
    installed = (
        importlib.util.find_spec("nvidia") is not None and importlib.util.find_spec("nvidia.dali") is not None
    )
    if backend == "dali" or (backend == "auto" and cuda and installed):
        from ssl_sweep.data_ops.views.dali_views import DaliViews

        return DaliViews(policy, batch, device="gpu" if cuda else "cpu", threads=threads)
    from ssl_sweep.data_ops.views.torch_views import TorchViews

    return TorchViews(policy, threads)
