"""Crop, resize, flip and blur of batches in which every image has its own parameters.

Results equal torchvision's ``resized_crop(antialias=True)``, ``hflip`` and ``gaussian_blur`` on float images.
An image comes out the same, bit for bit, in any batch: a test shows that batched products of such small
matrices do not depend on the size of the batch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ssl_sweep.data_ops.views.policy import ViewParams

DENSE_UP_TO = 64
"""Up to this side in pixels, two batched matrix products are faster than one call per image."""


def crop_resize(images: npt.NDArray[np.uint8], params: ViewParams, size: int) -> torch.Tensor:
    """Crops of images (n, H, W, 3), resized and flipped: float32 (n, 3, size, size) in grey levels."""
    if max(*images.shape[1:3], size) <= DENSE_UP_TO:
        return _by_products(images, params, size)
    return _one_by_one(images, params, size)


def _by_products(images: npt.NDArray[np.uint8], params: ViewParams, size: int) -> torch.Tensor:
    upright = np.zeros(len(images), dtype=bool)
    down = (torch.from_numpy(part) for part in axis(params.top, params.height, upright, size))
    across = (torch.from_numpy(part) for part in axis(params.left, params.width, params.flip, size))
    return products(torch.from_numpy(images), Axis(*down), Axis(*across))


class Axis(NamedTuple):
    """How the crops of n images are resized along one axis, float32."""

    start: torch.Tensor
    """(n, 1) first pixel of the crop."""
    length: torch.Tensor
    """(n, 1) pixels of the crop."""
    scale: torch.Tensor
    """(n, 1) stored pixels for each pixel of the view."""
    centre: torch.Tensor
    """(n, size) places in the crop of the view's pixels."""


def axis(
    start: npt.NDArray[np.int64],
    length: npt.NDArray[np.int64],
    reverse: npt.NDArray[np.bool_],
    size: int,
) -> tuple[npt.NDArray[np.float32], ...]:
    """The arrays of an ``Axis``; images of ``reverse`` are flipped along it."""
    scale = (length.astype(np.float32) / np.float32(size))[:, None]
    target = np.arange(size, dtype=np.float32)
    target = np.where(reverse[:, None], target[::-1], target)
    whole = (start.astype(np.float32)[:, None], length.astype(np.float32)[:, None])
    return (*whole, scale, scale * (target + np.float32(0.5)))


def products(images: torch.Tensor, down: Axis, across: Axis) -> torch.Tensor:
    """Crop and resize uint8 images (n, H, W, 3) by two batched matrix products, on the device of all
    arguments: float32 (n, 3, size, size)."""
    n, rows, columns, _ = images.shape
    size = down.centre.shape[1]
    x = images.reshape(n, rows, columns * 3).float()
    # each product also transposes: (n, W·3, H)(n, H, S), then (n, 3·S, W)(n, W, S)
    x = torch.bmm(x.transpose(1, 2), _weights(down, rows).transpose(1, 2))
    x = torch.bmm(x.view(n, columns, 3 * size).transpose(1, 2), _weights(across, columns).transpose(1, 2))
    return x.view(n, 3, size, size)


def _weights(along: Axis, pixels: int) -> torch.Tensor:
    """float32 (n, size, pixels): weights of antialiased linear interpolation along one axis.

    They are rounded as in torch.
    """
    position = torch.arange(pixels, device=along.start.device) - along.start  # of stored pixels in the crop
    inside = (position >= 0) & (position < along.length)
    distance = (position[:, None] - along.centre[:, :, None]).add_(0.5).abs_()
    if not along.scale.is_cpu or (along.scale > 1).any():  # a GPU would wait for the answer
        distance.mul_((1 / along.scale.clamp_min(1))[:, :, None])
    weights = distance.neg_().add_(1.0).clamp_min_(0.0)
    weights.mul_(inside.float()[:, None])
    return weights.div_(weights.sum(-1, keepdim=True))


def _one_by_one(images: npt.NDArray[np.uint8], params: ViewParams, size: int) -> torch.Tensor:
    # F.interpolate without antialias is faster, and equal if nothing shrinks, but depends on torch's threads
    out = torch.empty((len(images), 3, size, size))
    source = torch.from_numpy(images).permute(0, 3, 1, 2)
    boxes = np.stack([params.top, params.left, params.height, params.width, params.flip], axis=1).tolist()
    for i, (top, left, height, width, flip) in enumerate(boxes):
        crop = source[i : i + 1, :, top : top + height, left : left + width].contiguous().float()
        view = F.interpolate(crop, (size, size), mode="bilinear", antialias=True)
        out[i] = (view.flip(-1) if flip else view)[0]
    return out


def gaussian_blur(x: torch.Tensor, sigma: npt.NDArray[np.float32], kernel: int) -> torch.Tensor:
    """Blur (n, 3, H, W) by sigma (n,) pixels with ``kernel`` taps per axis, mirrored at the edges."""
    n, _, rows, columns = x.shape
    radius = kernel // 2
    weight = torch.from_numpy(np.repeat(blur_taps(sigma, kernel), 3, axis=0))
    x = F.pad(x, (radius,) * 4, mode="reflect")
    x = x.view(1, 3 * n, rows + 2 * radius, columns + 2 * radius)
    x = F.conv2d(x, weight.view(3 * n, 1, kernel, 1), groups=3 * n)
    x = F.conv2d(x, weight.view(3 * n, 1, 1, kernel), groups=3 * n)
    return x.view(n, 3, rows, columns)


def blur_taps(sigma: npt.NDArray[np.float32], kernel: int) -> npt.NDArray[np.float32]:
    """(n, kernel) weights of a Gaussian along one axis; each row sums to 1."""
    radius = kernel // 2
    taps = np.arange(-radius, radius + 1) / sigma[:, None].astype(np.float64)
    taps = np.exp(-0.5 * taps**2)
    return np.asarray(taps / taps.sum(axis=1, keepdims=True), dtype=np.float32)
