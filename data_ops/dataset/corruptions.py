"""Corruptions of pretraining images (Cole et al. 2022), fixed once per image before any augmentation."""

from __future__ import annotations

import dataclasses
import io
import math
import re

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.hashing import derive_seed, uniform
from ssl_sweep.data_ops.names import nearest

Images = npt.NDArray[np.uint8]  # (n, S, S, 3)
Keys = npt.NDArray[np.uint64]

_TOGETHER = 32  # images computed at once in float64, which takes up to 20 times the memory of their pixels

_KINDS = (
    "none",
    "resize",
    "downsample",
    "jpeg",
    "salt-and-pepper",
    "gaussian-noise",
    "gaussian-blur",
    "grayscale",
)
NAMES = (*_KINDS[:2], "downsample-2x", "downsample-4x", *_KINDS[3:])
_DEFAULTS = {
    "none": 0.0,
    "resize": 256.0,
    "jpeg": 10.0,
    "salt-and-pepper": 0.01,
    "gaussian-noise": 0.1,
    "gaussian-blur": 1.0,
    "grayscale": 1.0,
}


@dataclasses.dataclass(frozen=True)
class Corruption:
    """`severity`: resize's side in pixels, downsample's factor, jpeg's quality (1 to 100), the share of
    pixels of salt-and-pepper, the standard deviations of gaussian-noise (of a range of 1) and of
    gaussian-blur (in pixels), the share of colour that grayscale takes away."""

    name: str
    severity: float

    @property
    def canonical(self) -> str:
        """The one spelling of this corruption, with its severity: jpeg and jpeg-10 are both jpeg-10.

        It can be read back: all digits that tell this severity from others, and no exponent.
        """
        if self.name == "none":
            return self.name
        severity = np.format_float_positional(self.severity, trim="-")
        return f"{self.name}-{severity}" + ("x" if self.name == "downsample" else "")

    def changes_nothing(self, size: int) -> bool:
        """Whether images of `size` x `size` pixels stay what they are."""
        if self.name == "resize":
            return self.severity >= size
        return self.name == "none" or (self.name == "downsample" and round(size / self.severity) == size)

    def problem_at(self, size: int) -> str:
        """Why images of `size` x `size` pixels cannot be corrupted so; empty where they can."""
        if self.name == "downsample" and round(size / self.severity) < 1:
            return f"{self.canonical} leaves nothing of {size} x {size} images; choose a smaller factor"
        return ""


def parse_corruption(text: str) -> Corruption:
    """A corruption's name, with its severity after a hyphen where the default is not meant: downsample-2x
    (any factor above 1), jpeg or jpeg-30, salt-and-pepper or salt-and-pepper-0.05.

    DataError, with the nearest name, for anything else or a severity out of range.
    """
    match = re.fullmatch(rf"({'|'.join(_KINDS)})(?:-(\d+(?:\.\d+)?|\.\d+)(x?))?", text)
    if (
        match is None
        or (match[3] == "x") != (match[1] == "downsample")
        or (match[1] == "none" and match[2])
        or (match[2] is None and match[1] not in _DEFAULTS)
    ):
        raise DataError(f"no corruption {text!r}{nearest(text, NAMES)} There are {', '.join(NAMES)}")
    name, severity = match[1], float(match[2]) if match[2] else _DEFAULTS[match[1]]
    _require(math.isfinite(severity), text, "the severity is larger than any number here; give a smaller one")
    if name == "downsample":
        _require(severity > 1, text, "the factor must be above 1")
    if name == "resize":
        _require(
            severity >= 1 and severity == int(severity), text, "the side must be a whole number of pixels"
        )
    if name == "jpeg":
        whole = 1 <= severity <= 100 and severity == int(severity)
        _require(whole, text, "the quality must be a whole number from 1 to 100")
    if name in ("salt-and-pepper", "grayscale"):
        _require(0 < severity <= 1, text, "the share must be above 0 and at most 1")
    if name in ("gaussian-noise", "gaussian-blur"):
        _require(severity > 0, text, "the standard deviation must be above 0")
    return Corruption(name, severity)


def _require(condition: bool, text: str, what: str) -> None:
    if not condition:
        raise DataError(f"{text}: {what}")


def corrupt(images: Images, keys: Keys, corruption: Corruption, seed: int) -> Images:
    """Corrupted copies of (n, S, S, 3) images. Each depends on its pixels, key, corruption and seed alone.

    DataError where a downsampling factor leaves less than one pixel.
    """
    match corruption.name:
        case "none":
            return images.copy()
        case "resize":
            return _resize(images, min(int(corruption.severity), images.shape[1]))
        case "downsample":
            return _downsample(images, corruption.severity)
        case "jpeg":
            return _jpeg(images, int(corruption.severity))
        case "salt-and-pepper":
            return _salt_and_pepper(images, keys, corruption.severity, derive_seed("salt-and-pepper", seed))
        case "gaussian-noise":
            return _gaussian_noise(images, keys, corruption.severity, derive_seed("gaussian-noise", seed))
        case "gaussian-blur":
            return _gaussian_blur(images, corruption.severity)
        case "grayscale":
            return _grayscale(images, corruption.severity)
    raise DataError(f"no corruption {corruption.name!r}{nearest(corruption.name, NAMES)}")


def _downsample(images: Images, factor: float) -> Images:
    size = images.shape[1]
    problem = Corruption("downsample", factor).problem_at(size)
    if problem:
        raise DataError(problem)
    return _resize(images, round(size / factor))


def _resize(images: Images, side: int) -> Images:
    """To `side` pixels with antialiasing, then back to the old size, both bilinearly."""
    from PIL import Image

    size = images.shape[1]
    bilinear, result = Image.Resampling.BILINEAR, np.empty_like(images)
    for i, image in enumerate(images):
        shrunk = Image.fromarray(image).resize((side, side), bilinear)
        result[i] = np.asarray(shrunk.resize((size, size), bilinear))
    return result


def _jpeg(images: Images, quality: int) -> Images:
    """Through a JPEG file of this quality and back (libjpeg's chroma subsampling 4:2:0)."""
    from PIL import Image

    result = np.empty_like(images)
    for i, image in enumerate(images):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling="4:2:0")
        with Image.open(file) as decoded:
            result[i] = np.asarray(decoded)
    return result


def _salt_and_pepper(images: Images, keys: Keys, share: float, seed: int) -> Images:
    """A pixel turns white or black with probability `share` / 2 each; a larger share contains the smaller."""
    n, height, width = images.shape[:3]
    result = images.copy()
    for start in range(0, n, _TOGETHER):
        part = keys[start : start + _TOGETHER]
        u = uniform(seed, part[:, None], np.arange(height * width)).reshape(len(part), height, width)
        white = (
            uniform(seed, part[:, None], np.arange(height * width) + height * width).reshape(u.shape) < 0.5
        )
        result[start : start + _TOGETHER][u < share] = (white[u < share] * np.uint8(255))[:, None]
    return result


def _gaussian_noise(images: Images, keys: Keys, deviation: float, seed: int) -> Images:
    """Independent noise on every pixel and channel, by Box and Muller's method from the counters' hash."""
    values = images[0].size if len(images) else 0
    result = np.empty_like(images)
    for i, (image, key) in enumerate(zip(images, keys, strict=True)):
        u = uniform(seed, key, np.arange(values))
        angle = 2 * np.pi * uniform(seed, key, np.arange(values) + values)
        noise = np.sqrt(-2 * np.log1p(-u)) * np.cos(angle)
        noisy = image + 255 * deviation * noise.reshape(image.shape)
        result[i] = np.clip(np.rint(noisy), 0, 255)
    return result


def _gaussian_blur(images: Images, deviation: float) -> Images:
    from PIL import Image, ImageFilter

    result = np.empty_like(images)
    for i, image in enumerate(images):
        result[i] = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(deviation)))
    return result


def _grayscale(images: Images, share: float) -> Images:
    """Towards the luma of ITU-R 601, as Pillow's "L" mode has it."""
    result = np.empty_like(images)
    for start in range(0, len(images), _TOGETHER):
        part = images[start : start + _TOGETHER]
        gray = part @ np.array([0.299, 0.587, 0.114])
        result[start : start + _TOGETHER] = np.rint((1 - share) * part + share * gray[..., None])
    return result
