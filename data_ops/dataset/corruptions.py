"""Corruptions of pretraining images (Cole et al. 2022), fixed once per image before any augmentation.

``KINDS`` is the one table of them: to add a corruption, add an entry.
"""

from __future__ import annotations

import dataclasses
import io
import math
import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.errors import DataError, nearest
from ssl_sweep.data_ops.hashing import derive_seed, uniform

Images = npt.NDArray[np.uint8]  # (n, S, S, 3)
Keys = npt.NDArray[np.uint64]  # (n,)

_BLOCK = 32  # images computed together in float64, which takes up to 20 times the memory of their pixels


@dataclasses.dataclass(frozen=True)
class Kind:
    """How one corruption is written, checked and applied."""

    name: str
    default: float | None
    """The severity if none is written; None if one must be written."""
    check: Callable[[float], str]
    """What is wrong with a severity; empty if it is fine."""
    apply: Callable[[Images, Keys, float, int], Images]
    """(images, keys, severity, seed) to corrupted copies. Each depends on its own pixels and key only."""
    unit: str = ""
    """What follows the severity in writing."""
    examples: tuple[str, ...] = ()
    """How messages spell it; the name if empty."""
    side: Callable[[float, int], int] | None = None
    """(severity, size) to the side in pixels that images of this size are shrunk to; None if they are not."""


@dataclasses.dataclass(frozen=True)
class Corruption:
    """A corruption at one severity: what ``parse_corruption`` makes of a text."""

    name: str
    """The name of an entry of ``KINDS``."""
    severity: float
    """In the unit of the kind; see ``KINDS``."""

    @property
    def canonical(self) -> str:
        """The one spelling of this corruption, with its severity: jpeg and jpeg-10 are both jpeg-10.

        It can be read back: it has every digit that distinguishes this severity from others, and no exponent.
        """
        if self.name == "none":
            return self.name
        severity = np.format_float_positional(self.severity, trim="-")
        return f"{self.name}-{severity}{_kind(self.name).unit}"

    def changes_nothing(self, size: int) -> bool:
        """Whether images of ``size`` x ``size`` pixels stay as they are."""
        side = _kind(self.name).side
        return side is not None and side(self.severity, size) == size

    def problem_at(self, size: int) -> str:
        """Why images of ``size`` x ``size`` pixels cannot be corrupted like this; empty if they can."""
        side = _kind(self.name).side
        if side is not None and side(self.severity, size) < 1:
            return f"{self.canonical} leaves nothing of {size} x {size} images; choose a smaller factor"
        return ""


def parse_corruption(text: str) -> Corruption:
    """Read a corruption's name with an optional severity, such as jpeg, jpeg-30 or downsample-2x.

    Raises:
        DataError: The name is unknown (the message has the nearest one), or the severity is out of range.
    """
    match = re.fullmatch(rf"({'|'.join(_BY_NAME)})(?:-(\d+(?:\.\d+)?|\.\d+)(x?))?", text)
    if (
        match is None
        or (match[3] or "") != _kind(match[1]).unit
        or (match[2] is not None and match[1] == "none")
        or (match[2] is None and _kind(match[1]).default is None)
    ):
        raise _unknown(text)
    kind = _kind(match[1])
    severity = float(match[2] or kind.default or 0.0)
    if not math.isfinite(severity):
        raise DataError(f"{text}: the severity is larger than any number that fits; give a smaller one")
    if problem := kind.check(severity):
        raise DataError(f"{text}: {problem}")
    return Corruption(kind.name, severity)


def corrupt(images: Images, keys: Keys, corruption: Corruption, seed: int) -> Images:
    """Corrupted copies of (n, S, S, 3) images. Each depends on its pixels, key, corruption and seed only.

    Raises:
        DataError: A downsampling factor leaves less than one pixel.
    """
    kind = _kind(corruption.name)
    if problem := corruption.problem_at(images.shape[1]):
        raise DataError(problem)
    return kind.apply(images, keys, corruption.severity, seed)


def _kind(name: str) -> Kind:
    if name not in _BY_NAME:
        raise _unknown(name)
    return _BY_NAME[name]


def _unknown(text: str) -> DataError:
    return DataError(f"no corruption {text!r}{nearest(text, NAMES)}; use one of {', '.join(NAMES)}")


def _resize(images: Images, side: int) -> Images:
    """Shrink to ``side`` pixels with antialiasing, then enlarge to the old size, both bilinearly."""
    from PIL import Image

    size = images.shape[1]
    bilinear, result = Image.Resampling.BILINEAR, np.empty_like(images)
    for i, image in enumerate(images):
        shrunk = Image.fromarray(image).resize((side, side), bilinear)
        result[i] = np.asarray(shrunk.resize((size, size), bilinear))
    return result


def _jpeg(images: Images, quality: int) -> Images:
    """Encode as JPEG of this quality and decode again (libjpeg, chroma subsampling 4:2:0)."""
    from PIL import Image

    result = np.empty_like(images)
    for i, image in enumerate(images):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling="4:2:0")
        with Image.open(file) as decoded:
            result[i] = np.asarray(decoded)
    return result


def _salt_and_pepper(images: Images, keys: Keys, share: float, seed: int) -> Images:
    """A pixel turns white or black, each with probability ``share`` / 2.

    The pixels that a share changes are among those that a larger share changes.
    """
    seed = derive_seed("salt-and-pepper", seed)
    n, height, width = images.shape[:3]
    result = images.copy()
    for start in range(0, n, _BLOCK):
        part = keys[start : start + _BLOCK]
        u = uniform(seed, part[:, None], np.arange(height * width)).reshape(len(part), height, width)
        white = (
            uniform(seed, part[:, None], np.arange(height * width) + height * width).reshape(u.shape) < 0.5
        )
        result[start : start + _BLOCK][u < share] = (white[u < share] * np.uint8(255))[:, None]
    return result


def _gaussian_noise(images: Images, keys: Keys, deviation: float, seed: int) -> Images:
    """Independent noise on every pixel and channel, by Box and Muller's method from the counters' hash."""
    seed = derive_seed("gaussian-noise", seed)
    values = images[0].size if len(images) else 0
    result = np.empty_like(images)
    for i, (image, key) in enumerate(zip(images, keys, strict=True)):
        u = uniform(seed, key, np.arange(values))
        angle = 2 * np.pi * uniform(seed, key, np.arange(values) + values)
        noise = np.sqrt(-2 * np.log1p(-u)) * np.cos(angle)
        noisy = image + 255 * deviation * noise.reshape(image.shape)
        result[i] = np.clip(np.rint(noisy), 0, 255)
    return result


def _gaussian_blur(images: Images, _keys: Keys, deviation: float, _seed: int) -> Images:
    from PIL import Image, ImageFilter

    result = np.empty_like(images)
    for i, image in enumerate(images):
        result[i] = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(deviation)))
    return result


def _grayscale(images: Images, _keys: Keys, share: float, _seed: int) -> Images:
    """Mix with the luma of ITU-R 601, the one of Pillow's mode "L"."""
    result = np.empty_like(images)
    for start in range(0, len(images), _BLOCK):
        part = images[start : start + _BLOCK]
        gray = part @ np.array([0.299, 0.587, 0.114])
        result[start : start + _BLOCK] = np.rint((1 - share) * part + share * gray[..., None])
    return result


def _capped(side: float, size: int) -> int:
    return min(int(side), size)


def _divided(factor: float, size: int) -> int:
    return round(size / factor)


def _check_side(side: float) -> str:
    return "" if side >= 1 and side == int(side) else "the side must be a whole number of pixels"


def _check_factor(factor: float) -> str:
    return "" if factor > 1 else "the factor must be above 1"


def _check_quality(quality: float) -> str:
    whole = 1 <= quality <= 100 and quality == int(quality)
    return "" if whole else "the quality must be a whole number from 1 to 100"


def _check_share(share: float) -> str:
    return "" if 0 < share <= 1 else "the share must be above 0 and at most 1"


def _check_deviation(deviation: float) -> str:
    return "" if deviation > 0 else "the standard deviation must be above 0"


KINDS = (
    Kind("none", 0.0, lambda _: "", lambda images, *_: images.copy(), side=lambda _, size: size),
    # Severity: the side in pixels. Smaller images stay as they are.
    Kind(
        "resize",
        256.0,
        _check_side,
        lambda images, _keys, side, _seed: _resize(images, _capped(side, images.shape[1])),
        side=_capped,
    ),
    # Severity: the factor between the sides.
    Kind(
        "downsample",
        None,
        _check_factor,
        lambda images, _keys, factor, _seed: _resize(images, _divided(factor, images.shape[1])),
        unit="x",
        examples=("downsample-2x", "downsample-4x"),
        side=_divided,
    ),
    # Severity: the quality, 1 to 100; less is worse.
    Kind("jpeg", 10.0, _check_quality, lambda images, _keys, quality, _seed: _jpeg(images, int(quality))),
    # Severity: the share of pixels.
    Kind("salt-and-pepper", 0.01, _check_share, _salt_and_pepper),
    # Severity: the standard deviation, as a share of the range from black to white.
    Kind("gaussian-noise", 0.1, _check_deviation, _gaussian_noise),
    # Severity: the standard deviation in pixels.
    Kind("gaussian-blur", 1.0, _check_deviation, _gaussian_blur),
    # Severity: the share of the colour that is removed.
    Kind("grayscale", 1.0, _check_share, _grayscale),
)
_BY_NAME = {kind.name: kind for kind in KINDS}
NAMES = tuple(name for kind in KINDS for name in (kind.examples or (kind.name,)))
"""How messages list the corruptions."""
