"""Encoded bytes to RGB pixels, and pixels to the working size: one decoder and one resampler for all."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.errors import BadImageError

RESIZE_RULE = (
    "pillow-bilinear-antialias-centre-square-1"  # part of the fingerprint; change it when pixels change
)
MAX_PIXELS = 1 << 26  # 8192 x 8192; a larger image counts as a decompression bomb

DEEP_WHITE = 0xFFFF
"""White in a file of 16 bits, as its format defines it; the values that are in it may stay far below."""
_DEEP_AS_I = ("PNG", "PPM")  # formats that define white; some versions of Pillow open their 16 bits as 32

Pixels = npt.NDArray[np.uint8]

_noted: ContextVar[list[int] | None] = ContextVar("brightest values of 16-bit images", default=None)


@contextlib.contextmanager
def deep_values() -> Iterator[list[int]]:
    """Collects the brightest value of each 16-bit image that this thread decodes inside the block.

    Decoded pixels have 8 bits, so they do not show whether the file used its range.
    """
    found: list[int] = []
    before = _noted.set(found)
    try:
        yield found
    finally:
        _noted.reset(before)


def decode_rgb(data: bytes, name: str) -> Pixels:
    """Decode any file that Pillow reads to (H, W, 3) uint8.

    Gray becomes three equal channels, 16 bits are scaled to 8, alpha is dropped, and only the first frame is
    read. EXIF rotation is not applied.

    Args:
        data: The file's bytes.
        name: What errors call the image.

    Raises:
        BadImageError: The image is empty, broken, cut short, too large, or its values are not 8- or 16-bit
            integers.
    """
    from PIL import Image, UnidentifiedImageError

    def bad(what: str) -> BadImageError:
        return BadImageError(f"{name}: {what}", hashlib.sha256(data).hexdigest())

    if not data:
        raise bad("empty image; replace or remove it")
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise bad(_too_large(f"{image.width} x {image.height}"))
            return to_rgb(image)
    except BadImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise bad(_too_large("far too many")) from None
    except UnidentifiedImageError:  # its own text has a memory address, which differs every time
        raise bad("not a readable image (unknown format); replace or remove it") from None
    except Exception as error:  # broken files make Pillow's decoders raise nearly anything
        raise bad(f"not a readable image ({error}); replace or remove it") from error


def resize(pixels: Pixels, size: int) -> Pixels:
    """The centred square, resized to (size, size, 3), bilinear with antialiasing.

    An image that already has this size is returned unchanged.
    """
    height, width = pixels.shape[:2]
    if height == width == size:
        return pixels
    from PIL import Image

    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    square = (left, top, left + side, top + side)
    image = Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR, box=square)
    return np.asarray(image)


def to_rgb(image: Any) -> Pixels:
    """(H, W, 3) uint8 of an open Pillow image.

    Raises:
        ValueError: The values are not 8- or 16-bit integers.
    """
    layout = _layout(image)
    if image.mode == "F":
        raise ValueError("floating-point values of unknown range: save it with 8 or 16 bits")
    if image.mode == "I" and image.format not in _DEEP_AS_I:
        raise ValueError("signed or 32-bit integers, whose white is not defined: save it with 8 or 16 bits")
    if image.mode.startswith("I"):  # 16-bit gray; Pillow's own conversion would clip it to white
        gray = np.asarray(image).astype(np.int64)
        if layout == "I;12":  # a TIFF that declares 12 bits
            return _gray(gray >> 4)
        _note(int(gray.max()))
        return _gray(gray >> 8)
    if "transparency" in image.info:  # a palette's transparent entries need this step on the way
        image = image.convert("RGBA")
    pixels = np.asarray(image.convert("RGB"))
    if layout.endswith((";16B", ";16L", ";16N")):  # Pillow has taken the upper byte of each colour
        _note(int(pixels.max()) << 8 | 0xFF)
    return pixels


def _layout(image: Any) -> str:
    """How a file lays out its values, in Pillow's terms; empty without a file, or once it was read."""
    tiles = getattr(image, "tile", None) or [("", (), 0, "")]
    arguments = tiles[0][3]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _gray(values: npt.NDArray[np.int64]) -> Pixels:
    return np.repeat(values.astype(np.uint8)[:, :, None], 3, axis=2)


def _note(brightest: int) -> None:
    found = _noted.get()
    if found is not None:
        found.append(brightest)


def _too_large(pixels: str) -> str:
    return f"{pixels} pixels, more than {MAX_PIXELS:,}: a decompression bomb or a scan; shrink it first"
