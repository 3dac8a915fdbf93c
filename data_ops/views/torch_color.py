"""Colour operations of torchvision on batches in which every image has its own parameters.

Images are float32 (n, 3, H, W) in grey levels, 0 to 255. An image must come out the same, bit for bit, in any
batch. So the order of sums does not depend on n. Nothing here fuses a multiplication with an addition
(``alpha=``, ``addcmul``), since vector loops and remainder loops could then round differently. Functions
avoid branches per pixel: on a CPU, ``torch.where`` takes as long as about 60 additions.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ssl_sweep.data_ops.views.jitter import LUMA, color_affine
from ssl_sweep.data_ops.views.policy import ViewParams


def jitter_exact_(x: torch.Tensor, steps: npt.NDArray[np.float32], hue_at: int) -> None:
    """ColorJitter in place. All images shift their hue at one step; ``steps`` is from ``jitter_steps``."""
    weights = torch.from_numpy(np.ascontiguousarray(np.moveaxis(steps, 0, 2)))[..., None, None]
    for step, (factor, to_luma, to_mean) in enumerate(weights):
        if step == hue_at:
            shift_hue_(x, factor)
            continue
        if to_luma.any() or to_mean.any():
            blend_(x, factor, to_luma, to_mean)
        else:
            x.mul_(factor[:, None]).clamp_(0.0, 255.0)


def blend_(x: torch.Tensor, factor: torch.Tensor, to_luma: torch.Tensor, to_mean: torch.Tensor) -> None:
    """Brightness, contrast or saturation in place; the weights (n, 1, 1) are those of ``jitter_steps``."""
    gray = luma(x)
    x.mul_(factor[:, None])
    mean = plane_mean(gray).mul_(to_mean)
    x.add_(gray.mul_(to_luma).add_(mean)[:, None]).clamp_(0.0, 255.0)


def shift_hue_(x: torch.Tensor, turns: torch.Tensor) -> None:
    """Shift the hue of each image by ``turns`` (n, 1, 1), at most half a turn, in HSV space and in place.

    Let V and m be the largest and the smallest channel, and C = V - m. The hue in sextants of the hexagon has
    the closed form copysign(C - m + g + b - r, g - b) / C. After the shifted hue h is wrapped to at most half
    a turn, each channel is V - 2C + 6C clip(d, 1/6, 1/3) with d = 1/2 - |h|, |h + 1/6|, |h - 1/6| for red,
    green, blue. Neither direction needs a case distinction.
    """
    red, green, blue = x.unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    least = torch.minimum(torch.minimum(red, green), blue)
    chroma = value - least
    hue = (green + blue).sub_(red).add_(chroma).sub_(least)
    torch.copysign(hue, green - blue, out=hue)
    base = value.sub_(chroma).sub_(chroma)
    chroma.mul_(6.0)
    hue.div_(chroma.clamp_min(1e-20)).add_(turns)  # without colour the numerator is 0 too
    hue.sub_(torch.round(hue))
    torch.abs(hue, out=red).neg_().add_(0.5)
    torch.add(hue, 1 / 6, out=green).abs_()
    torch.sub(hue, 1 / 6, out=blue).abs_()
    x.clamp_(1 / 6, 1 / 3).mul_(chroma[:, None]).add_(base[:, None])


def grayscale_(x: torch.Tensor, chosen: npt.NDArray[np.bool_]) -> None:
    """Replace the chosen images by their luma, in place."""
    pixels = x.numpy()  # indexed copies in NumPy are several times faster than in torch
    pixels[chosen] = luma(torch.from_numpy(pixels[chosen])).numpy()[:, None]


def jitter_affine(x: torch.Tensor, params: ViewParams) -> torch.Tensor:
    """Colour jitter and grayscale as one map per image (see ``jitter.color_affine``), clipped to 0..255."""
    return affine(x, *(torch.from_numpy(matrices) for matrices in color_affine(params)))


def affine(x: torch.Tensor, on_pixel: torch.Tensor, on_mean: torch.Tensor) -> torch.Tensor:
    """on_pixel x + on_mean mean(x) for each image, clipped to 0..255; the matrices are (n, 3, 3)."""
    offset = torch.bmm(on_mean, plane_mean(x).view(-1, 3, 1))
    out = torch.bmm(on_pixel, x.flatten(2)).add_(offset)
    return out.clamp_(0.0, 255.0).view_as(x)


def luma(x: torch.Tensor) -> torch.Tensor:
    """ITU-R 601-2 luma of (n, 3, H, W) as (n, H, W), with torchvision's coefficients."""
    red, green, blue = x.unbind(1)
    out = red * float(LUMA[0])
    out.add_(green * float(LUMA[1]))
    return out.add_(blue * float(LUMA[2]))


def plane_mean(x: torch.Tensor) -> torch.Tensor:
    """Mean over the last two axes, kept."""
    rows, columns = x.shape[-2:]
    # row by row first: torch may split a sum between its threads, but only at rows
    return x.sum(-1, keepdim=True).sum(-2, keepdim=True).div_(rows * columns)
