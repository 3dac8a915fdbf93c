"""Corruptions of pretraining images (Cole et al. 2022), fixed once per image before any augmentation."""

from __future__ import annotations

import dataclasses
import io
import re

import numpy as np
import numpy.typing as npt

from data_ops.errors import DataError
from data_ops.hashing import derive_seed, uniform
from data_ops.names import nearest

Images = npt.NDArray[np.uint8]  # (n, S, S, 3)
Keys = npt.NDArray[np.uint64]

_NAMES = ("none", "downsample-2x", "downsample-4x", "jpeg", "salt-and-pepper")
_DEFAULTS = {"none": 0.0, "jpeg": 10.0, "salt-and-pepper": 0.01}


@dataclasses.dataclass(frozen=True)
class Corruption:
    """`severity`: downsample's factor, jpeg's quality (1 to 100), salt-and-pepper's pixel share."""

    name: str
    severity: float

    @property
    def canonical(self) -> str:
        """The one spelling of this corruption, with its severity: jpeg and jpeg-10 are both jpeg-10."""
        if self.name == "none":
            return self.name
        return f"{self.name}-{self.severity:g}" + ("x" if self.name == "downsample" else "")


def parse_corruption(text: str) -> Corruption:
    """none, downsample-2x (any factor above 1), jpeg or jpeg-30, salt-and-pepper or salt-and-pepper-0.05.

    DataError, with the nearest name, for anything else or a severity out of range.
    """
    match = re.fullmatch(r"(none|downsample|jpeg|salt-and-pepper)(?:-(\d+(?:\.\d+)?|\.\d+)(x?))?", text)
    if match is None or (match[3] == "x") != (match[1] == "downsample") or (match[1] == "none" and match[2]):
        raise DataError(f"no corruption {text!r}{nearest(text, _NAMES)} There are {', '.join(_NAMES)}")
    name, severity = match[1], float(match[2]) if match[2] else _DEFAULTS[match[1]]
    if name == "downsample" and severity <= 1:
        raise DataError(f"{text}: the factor must be above 1")
    if name == "jpeg" and not (1 <= severity <= 100 and severity == int(severity)):
        raise DataError(f"{text}: the quality must be a whole number from 1 to 100")
    if name == "salt-and-pepper" and not 0 < severity <= 1:
        raise DataError(f"{text}: the share of pixels must be above 0 and at most 1")
    return Corruption(name, severity)


def corrupt(images: Images, keys: Keys, corruption: Corruption, seed: int) -> Images:
    """Corrupted copies of (n, S, S, 3) images. Each depends on its pixels, key, corruption and seed alone.

    DataError where a downsampling factor leaves less than one pixel.
    """
    match corruption.name:
        case "none":
            return images.copy()
        case "downsample":
            return _downsample(images, corruption.severity)
        case "jpeg":
            return _jpeg(images, int(corruption.severity))
        case "salt-and-pepper":
            return _salt_and_pepper(images, keys, corruption.severity, derive_seed("salt-and-pepper", seed))
    raise DataError(f"no corruption {corruption.name!r}{nearest(corruption.name, _NAMES)}")


def _downsample(images: Images, factor: float) -> Images:
    """Smaller by `factor` with antialiasing, then back to the old size bilinearly."""
    from PIL import Image

    size = images.shape[1]
    small = round(size / factor)
    if small < 1:
        raise DataError(
            f"downsample-{factor:g}x leaves nothing of {size} x {size} images; choose a smaller factor"
        )
    bilinear, result = Image.Resampling.BILINEAR, np.empty_like(images)
    for i, image in enumerate(images):
        shrunk = Image.fromarray(image).resize((small, small), bilinear)
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
    for start in range(0, n, 256):  # bounds the memory that the random numbers take
        part = keys[start : start + 256]
        u = uniform(seed, part[:, None], np.arange(height * width)).reshape(len(part), height, width)
        white = (
            uniform(seed, part[:, None], np.arange(height * width) + height * width).reshape(u.shape) < 0.5
        )
        result[start : start + 256][u < share] = (white[u < share] * np.uint8(255))[:, None]
    return result
