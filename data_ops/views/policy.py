"""The augmentation as data: one policy, and one stateless sampler of its parameters for every back end.

A view of an image is a pure function of (policy, seed, epoch, image key, view number). Neither the batch it
is in, nor the worker that renders it, nor where a run was resumed can change it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.hashing import derive_seed, uniform

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
ORDERS = np.array(list(itertools.permutations(range(4))), dtype=np.int8)  # the 24 orders of the colour jitter
Shape = tuple[int, int] | npt.NDArray[np.int64]  # (height, width) of all images, or (n, 2) of each
_ATTEMPTS = 10  # of a random resized crop before it falls back to the centre, as in torchvision

# One slot per random number of a view; a new one gets a new slot, so that the others keep their values.
_FLIP, _JITTER, _ORDER, _FACTORS, _GRAYSCALE, _BLUR, _SIGMA, _SOLARIZE = 0, 1, 2, 3, 7, 8, 9, 10
_TOP, _LEFT, _AREA, _RATIO = 16, 32, 48, 64  # + number of the attempt


@dataclass(frozen=True, kw_only=True)
class ViewPolicy:
    """Random resized crop, flip, colour jitter in random order, grayscale, blur (SimCLR, appendix A), and
    solarisation (BYOL, appendix B).

    Probabilities: flip, jitter, grayscale, blur, solarize. Brightness, contrast and saturation factors are
    drawn from [max(0, 1 - v), 1 + v], the hue shift (in turns) from [-hue, hue]. `blur_kernel` is odd, in
    pixels of the view. Solarisation inverts the grey levels from 128 up. Crop "centre" is the same for every
    draw: the centred square of sqrt(scale[1]) of the short side, but of no fewer pixels than the view has.
    Mode "exact" has torchvision's semantics: each jitter operation on the clipped result of the one before,
    hue in HSV. Mode "affine" is another, cheaper augmentation: the same factors and order composed into one
    affine colour map per image, hue as a rotation about the grey axis, clipped once. It differs by several
    grey levels on average, so the mode is part of a run's identity. Raises DataError for values out of range.
    """

    size: int
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    jitter: float = 0.8
    brightness: float = 0.8
    contrast: float = 0.8
    saturation: float = 0.8
    hue: float = 0.2
    grayscale: float = 0.2
    blur: float = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    blur_kernel: int = 3
    mode: Literal["exact", "affine"] = "exact"
    crop: Literal["random", "centre"] = "random"
    solarize: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.scale
        _require(self.size >= 8, f"size is {self.size}; use at least 8 pixels")
        _require(0 < low <= high <= 1, f"scale is {self.scale}; use 0 < low <= high <= 1")
        _require(0 < self.ratio[0] <= self.ratio[1], f"ratio is {self.ratio}; use 0 < low <= high")
        for name in ("flip", "jitter", "grayscale", "blur", "solarize"):
            value = getattr(self, name)
            _require(0 <= value <= 1, f"{name} is {value}; it is a probability, use 0 to 1")
        for name in ("brightness", "contrast", "saturation"):
            _require(getattr(self, name) >= 0, f"{name} is {getattr(self, name)}; use 0 or more")
        _require(0 <= self.hue <= 0.5, f"hue is {self.hue}; use 0 to 0.5 turns")
        low, high = self.blur_sigma
        _require(0 < low <= high, f"blur_sigma is {self.blur_sigma}; use 0 < low <= high")
        odd = self.blur_kernel % 2 == 1 and 1 <= self.blur_kernel < 2 * self.size
        _require(odd, f"blur_kernel is {self.blur_kernel}; use an odd number below twice the size")
        _require(self.mode in ("exact", "affine"), f"mode is {self.mode!r}; use 'exact' or 'affine'")
        _require(self.crop in ("random", "centre"), f"crop is {self.crop!r}; use 'random' or 'centre'")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise DataError(f"view policy: {message}")


def simclr_policy(
    size: int,
    strength: float | None = None,
    blur: bool | None = None,
    mode: Literal["exact", "affine"] = "exact",
) -> ViewPolicy:
    """SimCLR's policy for views of `size` pixels.

    Up to 64 pixels strength 0.5 without blur (Chen et al. 2020, B.9), else strength 1.0 with a blur of a
    tenth of the image (appendix A). `strength` and `blur` override the two.
    """
    small = size <= 64
    strength = (0.5 if small else 1.0) if strength is None else strength
    blur = not small if blur is None else blur
    return ViewPolicy(
        size=size,
        brightness=0.8 * strength,
        contrast=0.8 * strength,
        saturation=0.8 * strength,
        hue=0.2 * strength,
        blur=0.5 if blur else 0.0,
        blur_kernel=max(3, size // 10 // 2 * 2 + 1),
        mode=mode,
    )


@dataclass(frozen=True, kw_only=True)
class ViewParams:
    """What to do to each of n images, in this order: crop, resize, flip, jitter, grayscale, blur,
    solarise.

    `factors` (n, 4) are indexed by BRIGHTNESS, CONTRAST, SATURATION, HUE and neutral (1, 1, 1, 0) where
    `jitter` is off; `order` (n,) points into ORDERS. `shape` is the (height, width) of the images the crops
    were drawn for, (n, 2) where each has its own.
    """

    shape: Shape
    top: npt.NDArray[np.int64]
    left: npt.NDArray[np.int64]
    height: npt.NDArray[np.int64]
    width: npt.NDArray[np.int64]
    flip: npt.NDArray[np.bool_]
    jitter: npt.NDArray[np.bool_]
    order: npt.NDArray[np.int64]
    factors: npt.NDArray[np.float32]
    grayscale: npt.NDArray[np.bool_]
    blur: npt.NDArray[np.bool_]
    sigma: npt.NDArray[np.float32]
    solarize: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.top)

    def take(self, index: npt.NDArray[np.int64] | slice) -> ViewParams:
        """The parameters of the images at `index`, in that order."""
        arrays: dict[str, Any] = {
            f.name: getattr(self, f.name)[index] for f in fields(self) if f.name != "shape"
        }
        return ViewParams(shape=self.shape if isinstance(self.shape, tuple) else self.shape[index], **arrays)


def sample_params(
    policy: ViewPolicy,
    seed: int,
    epoch: int,
    keys: npt.NDArray[np.uint64],
    view: int,
    shape: Shape | None = None,
) -> ViewParams:
    """Draw the parameters of view number `view` in `epoch` for the images with these keys (n,).

    Each is a function of (policy, seed, epoch, key, view) and the image's shape alone. `shape` is the
    (height, width) of the stored images, the policy's size where not given; (n, 2) where each has its own.
    """
    shape = (policy.size, policy.size) if shape is None else shape
    keys = np.asarray(keys, dtype=np.uint64)
    base = derive_seed("views", seed)

    def draw(slots: int | Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        slots = np.asarray(slots)
        columns = keys if slots.ndim < 1 else keys[:, None]
        return uniform(base, epoch, view, columns, slots)

    jitter = draw(_JITTER) < policy.jitter
    return ViewParams(
        shape=shape,
        **(_crops(policy, shape, draw) if policy.crop == "random" else _centre(policy, shape, len(keys))),
        flip=draw(_FLIP) < policy.flip,
        jitter=jitter,
        order=(draw(_ORDER) * len(ORDERS)).astype(np.int64),
        factors=_factors(policy, draw(range(_FACTORS, _FACTORS + 4)), jitter),
        grayscale=draw(_GRAYSCALE) < policy.grayscale,
        blur=draw(_BLUR) < policy.blur,
        sigma=_between(*policy.blur_sigma, draw(_SIGMA)).astype(np.float32),
        solarize=draw(_SOLARIZE) < policy.solarize,
    )


def _between(low: Any, high: Any, u: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(low + (high - low) * u)


def _factors(
    policy: ViewPolicy, u: npt.NDArray[np.float64], jitter: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    span = np.array([policy.brightness, policy.contrast, policy.saturation, policy.hue])
    neutral = np.array([1.0, 1.0, 1.0, 0.0])
    low = np.array([*np.maximum(0.0, 1.0 - span[:3]), -policy.hue])
    return np.where(jitter[:, None], _between(low, neutral + span, u), neutral).astype(np.float32)


def _crops(policy: ViewPolicy, shape: Shape, draw: Any) -> dict[str, Any]:
    """torchvision's RandomResizedCrop for all images at once: the first of 10 attempts that fits, else the
    centre."""
    rows, columns = _sides(shape)
    attempts = np.arange(_ATTEMPTS)
    area = (rows * columns)[..., None] * _between(*policy.scale, draw(_AREA + attempts))
    aspect = np.exp(_between(np.log(policy.ratio[0]), np.log(policy.ratio[1]), draw(_RATIO + attempts)))
    widths = np.rint(np.sqrt(area * aspect)).astype(np.int64)
    heights = np.rint(np.sqrt(area / aspect)).astype(np.int64)
    fits = (widths > 0) & (widths <= columns[..., None]) & (heights > 0) & (heights <= rows[..., None])
    found, first = fits.any(axis=1), fits.argmax(axis=1)
    images = np.arange(len(first))

    low, high = policy.ratio
    centre_width = np.minimum(columns, np.rint(rows * high).astype(np.int64))
    centre_height = np.minimum(rows, np.rint(columns / low).astype(np.int64))
    width = np.where(found, widths[images, first], centre_width)
    height = np.where(found, heights[images, first], centre_height)
    top = np.where(found, np.floor(draw(_TOP) * (rows - height + 1)), (rows - height) // 2)
    left = np.where(found, np.floor(draw(_LEFT) * (columns - width + 1)), (columns - width) // 2)
    return {"top": top.astype(np.int64), "left": left.astype(np.int64), "height": height, "width": width}


def _centre(policy: ViewPolicy, shape: Shape, n: int) -> dict[str, Any]:
    """Resize and centre crop in one: at 224 pixels 7/8 of the short side, as from 256, but none enlarged."""
    rows, columns = _sides(shape)
    short = np.minimum(rows, columns)
    side = np.rint(short * policy.scale[1] ** 0.5).astype(np.int64)
    side = np.minimum(short, np.maximum(policy.size, side))
    box = {"top": (rows - side) // 2, "left": (columns - side) // 2, "height": side, "width": side}
    return {name: np.array(np.broadcast_to(value, n), dtype=np.int64) for name, value in box.items()}


def _sides(shape: Shape) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Heights and widths: 0-d for all images, or (n,)."""
    rows, columns = np.asarray(shape, dtype=np.int64).T
    return np.asarray(rows), np.asarray(columns)
