"""Images on the device of the view back end, so that they are copied there once: for all views, or for all
epochs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ssl_sweep.data_ops.images import ImageArray
from ssl_sweep.data_ops.views.torch_device import to_device

RESIDENT_UP_TO = 64
"""Images up to this side in pixels stay on the device."""
_SHARE = 4  # of the free memory, one part may hold the images
_READ = 4096  # images


class DeviceImages:
    """Images (N, H, W, 3) whose batches are uint8 tensors on ``device``.

    Args:
        images: Where they are read.
        device: Where they are wanted.
        resident: Copy all of them now; else each batch is copied when it is read.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, images: ImageArray, device: torch.device, *, resident: bool) -> None:
        self.shape, self.device = images.shape, device
        self._images = images
        self._resident: torch.Tensor | None = None
        if resident:
            self._resident = torch.empty(self.shape, dtype=torch.uint8, device=device)
            for start in range(0, len(images), _READ):
                part = slice(start, start + _READ)
                self._resident[part] = self._copy(images[part])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: npt.NDArray[np.int64]) -> torch.Tensor:
        if self._resident is None:
            return self._copy(self._images[index])
        return self._resident[to_device(index, self.device)]

    def _copy(self, pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
        return to_device(pixels, self.device)


def on_device(images: ImageArray, device: torch.device, *, resident: bool) -> Any:
    """What a loader reads for a back end on ``device``: ``images`` itself on a CPU, else ``DeviceImages``.

    They become resident if that is allowed, they have at most ``RESIDENT_UP_TO`` pixels a side, and they
    take at most a quarter of the GPU's free memory.
    """
    if device.type != "cuda":
        return images
    small = max(images.shape[1:3]) <= RESIDENT_UP_TO
    needed = int(np.prod(images.shape))
    fits = resident and small and _SHARE * needed <= torch.cuda.mem_get_info(device)[0]
    return DeviceImages(images, device, resident=fits)
