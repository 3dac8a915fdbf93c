"""The augmentation as data: a policy, and one stateless sampler of its parameters for every back end.

A view of an image is a pure function of (policy, seed, epoch, image key, view number). It depends neither on
its batch, nor on the worker that renders it, nor on the step at which a run was resumed.
"""

from __future__ import annotations

import enum
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
Shape = tuple[int, int] | npt.NDArray[np.int64]  # (height, width) of all images, or (n, 2) with one row each
_ATTEMPTS = 10  # tries of a random resized crop before the centre is taken, as in torchvision


class Slot(enum.IntEnum):
    """The random numbers of a view. A new one gets a new slot, so that the others keep their values."""

    FLIP = 0
    JITTER = 1
    ORDER = 2
    FACTORS = 3
    """The first of four slots: brightness, contrast, saturation, hue."""
    GRAYSCALE = 7
    BLUR = 8
    SIGMA = 9
    SOLARIZE = 10
    TOP = 16
    LEFT = 32
    AREA = 48
    """The slot of the first attempt; the others follow it."""
    RATIO = 64
    """The slot of the first attempt; the others follow it."""


@dataclass(frozen=True, kw_only=True)
class ViewPolicy:
    """Random resized crop, flip, colour jitter in random order, grayscale and blur (SimCLR, appendix A), and
    solarisation (BYOL, appendix B).

    Raises:
        DataError: A value is out of range.
    """

    size: int
    """The side of a view in pixels."""
    scale: tuple[float, float] = (0.08, 1.0)
    """The least and the largest area of a crop, as a share of the image."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """The least and the largest width of a crop divided by its height."""
    flip: float = 0.5
    """Probability of a horizontal flip."""
    jitter: float = 0.8
    """Probability of the colour jitter."""
    brightness: float = 0.8
    """The factor is drawn from [max(0, 1 - brightness), 1 + brightness]."""
    contrast: float = 0.8
    """The factor is drawn from [max(0, 1 - contrast), 1 + contrast]."""
    saturation: float = 0.8
    """The factor is drawn from [max(0, 1 - saturation), 1 + saturation]."""
    hue: float = 0.2
    """The shift, in turns, is drawn from [-hue, hue]."""
    grayscale: float = 0.2
    """Probability that an image becomes gray."""
    blur: float = 0.5
    """Probability of a Gaussian blur."""
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    """The least and the largest standard deviation of the blur in pixels."""
    blur_kernel: int = 3
    """The side of the blur's kernel in pixels of the view; odd."""
    mode: Literal["exact", "affine"] = "exact"
    """The semantics of the jitter.

    "exact" is torchvision's: each operation works on the clipped result of the one before, and hue is shifted
    in HSV. "affine" is a different, cheaper augmentation: the same factors in the same order become one
    colour map per image, which is affine and clips once; hue is a rotation about the grey axis. The two
    differ by several grey levels on average, so the mode is part of a run's identity.
    """
    crop: Literal["random", "centre"] = "random"
    """How the crop is placed.

    "centre" is the same for every draw: the centred square whose side is sqrt(scale[1]) of the image's short
    side, but not fewer pixels than the view has.
    """
    solarize: float = 0.0
    """Probability of solarisation, which inverts the grey levels from 128 up."""

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
    """SimCLR's policy for views of ``size`` pixels.

    Up to 64 pixels it has strength 0.5 and no blur (Chen et al. 2020, B.9), above that strength 1.0 and a
    blur with a kernel of a tenth of the image (appendix A). ``strength`` and ``blur`` override this.
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
    """What to do to each of n images, in this order: crop, resize, flip, jitter, grayscale, blur, solarise.

    Every array has one row per image.
    """

    shape: Shape
    """The size of the images that the crops were drawn for."""
    top: npt.NDArray[np.int64]
    left: npt.NDArray[np.int64]
    height: npt.NDArray[np.int64]
    width: npt.NDArray[np.int64]
    flip: npt.NDArray[np.bool_]
    jitter: npt.NDArray[np.bool_]
    order: npt.NDArray[np.int64]
    """(n,) rows of ``ORDERS``."""
    factors: npt.NDArray[np.float32]
    """(n, 4), columns BRIGHTNESS, CONTRAST, SATURATION, HUE; (1, 1, 1, 0) for images without jitter."""
    grayscale: npt.NDArray[np.bool_]
    blur: npt.NDArray[np.bool_]
    sigma: npt.NDArray[np.float32]
    """(n,) standard deviation of the blur in pixels."""
    solarize: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.top)

    def take(self, index: npt.NDArray[np.int64] | slice) -> ViewParams:
        """The parameters of the images at ``index``, in that order."""
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
    """Draw the parameters of one view of each image.

    They depend on (policy, seed, epoch, key, view) and the image's shape only.

    Args:
        policy: What to draw.
        seed: The run's seed.
        epoch: The number of the epoch.
        keys: (n,) the images' keys.
        view: The number of the view.
        shape: The size of the stored images; the policy's size if None.
    """
    shape = (policy.size, policy.size) if shape is None else shape
    keys = np.asarray(keys, dtype=np.uint64)
    base = derive_seed("views", seed)

    def draw(slots: int | Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        slots = np.asarray(slots)
        columns = keys if slots.ndim < 1 else keys[:, None]
        return uniform(base, epoch, view, columns, slots)

    jitter = draw(Slot.JITTER) < policy.jitter
    return ViewParams(
        shape=shape,
        **(_crops(policy, shape, draw) if policy.crop == "random" else _centre(policy, shape, len(keys))),
        flip=draw(Slot.FLIP) < policy.flip,
        jitter=jitter,
        order=(draw(Slot.ORDER) * len(ORDERS)).astype(np.int64),
        factors=_factors(policy, draw(range(Slot.FACTORS, Slot.FACTORS + 4)), jitter),
        grayscale=draw(Slot.GRAYSCALE) < policy.grayscale,
        blur=draw(Slot.BLUR) < policy.blur,
        sigma=_between(*policy.blur_sigma, draw(Slot.SIGMA)).astype(np.float32),
        solarize=draw(Slot.SOLARIZE) < policy.solarize,
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
    """torchvision's RandomResizedCrop for all images: the first of 10 attempts that fits, else the centre."""
    rows, columns = _sides(shape)
    attempts = np.arange(_ATTEMPTS)
    area = (rows * columns)[..., None] * _between(*policy.scale, draw(Slot.AREA + attempts))
    aspect = np.exp(_between(np.log(policy.ratio[0]), np.log(policy.ratio[1]), draw(Slot.RATIO + attempts)))
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
    top = np.where(found, np.floor(draw(Slot.TOP) * (rows - height + 1)), (rows - height) // 2)
    left = np.where(found, np.floor(draw(Slot.LEFT) * (columns - width + 1)), (columns - width) // 2)
    return {"top": top.astype(np.int64), "left": left.astype(np.int64), "height": height, "width": width}


def _centre(policy: ViewPolicy, shape: Shape, n: int) -> dict[str, Any]:
    """Resize and centre crop in one step.

    At 224 pixels the crop has 7/8 of the short side, as after Resize(256); but it never has fewer pixels than
    the view, if the image is large enough.
    """
    rows, columns = _sides(shape)
    short = np.minimum(rows, columns)
    side = np.rint(short * policy.scale[1] ** 0.5).astype(np.int64)
    side = np.minimum(short, np.maximum(policy.size, side))
    box = {"top": (rows - side) // 2, "left": (columns - side) // 2, "height": side, "width": side}
    return {name: np.array(np.broadcast_to(value, n), dtype=np.int64) for name, value in box.items()}


def _sides(shape: Shape) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Heights and widths: 0-d if all images have one size, else (n,)."""
    rows, columns = np.asarray(shape, dtype=np.int64).T
    return np.asarray(rows), np.asarray(columns)
