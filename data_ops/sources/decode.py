"""Encoded bytes to RGB pixels, and pixels to the working size: one decoder, one resampler for everything."""

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
MAX_PIXELS = 1 << 26  # 8192 x 8192: more is taken for a decompression bomb

DEEP_WHITE = 0xFFFF  # white, where a file has 16 bits: what its format means, whatever was written into it
_DEEP_AS_I = ("PNG", "PPM")  # they say their white, and Pillow, or an older one, opens their 16 bits as 32

Pixels = npt.NDArray[np.uint8]

_noted: ContextVar[list[int] | None] = ContextVar("brightest values of 16-bit images", default=None)


@contextlib.contextmanager
def deep_values() -> Iterator[list[int]]:
    """Collects the brightest value of each 16-bit image that is decoded inside, in this thread.

    The pixels come out with 8 bits: whether the file used its range is to be seen here only.
    """
    found: list[int] = []
    before = _noted.set(found)
    try:
        yield found
    finally:
        _noted.reset(before)


def decode_rgb(data: bytes, name: str) -> Pixels:
    """(H, W, 3) uint8 of what Pillow reads: gray repeated, 16 bit scaled, alpha dropped, first frame.

    EXIF rotation is not applied. BadImageError with `name` for what is empty, broken, cut short, too large or
    of values that are no 8 or 16 bit integers.
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
    except UnidentifiedImageError:  # its own text has a memory address, another one every time
        raise bad("not a readable image (unknown format); replace or remove it") from None
    except Exception as error:  # broken files make Pillow's decoders raise nearly anything
        raise bad(f"not a readable image ({error}); replace or remove it") from error


def resize(pixels: Pixels, size: int) -> Pixels:
    """(size, size, 3): the centred square, antialiased bilinear; an image of that size is left as it is."""
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
    """(H, W, 3) uint8 of an open Pillow image. ValueError for values that are no 8 or 16 bit integers."""
    layout = _layout(image)
    if image.mode == "F":
        raise ValueError("floating-point values, whose range nobody can know: save it with 8 or 16 bits")
    if image.mode == "I" and image.format not in _DEEP_AS_I:
        raise ValueError(
            "signed or 32-bit integers, and nothing says what their white is: save it with 8 or 16 bits"
        )
    if image.mode.startswith("I"):  # deep gray; Pillow's own conversion would clip it to white
        gray = np.asarray(image).astype(np.int64)
        if layout == "I;12":  # a TIFF that says it has 12 bits
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
    """How a file lays out its values, in Pillow's words; known until they are read. Empty for no file."""
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
