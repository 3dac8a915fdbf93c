"""Encoded bytes to RGB pixels, and pixels to the working size: one decoder, one resampler for everything."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
import numpy.typing as npt

from data_ops.errors import BadImageError

RESIZE_RULE = (
    "pillow-bilinear-antialias-centre-square-1"  # part of the fingerprint; change it when pixels change
)
MAX_PIXELS = 1 << 26  # 8192 x 8192: more is taken for a decompression bomb

Pixels = npt.NDArray[np.uint8]


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
    if image.mode == "F":
        raise ValueError("floating-point values, whose range nobody can know: save it with 8 or 16 bits")
    if image.mode.startswith("I"):  # deep gray; Pillow's own conversion would clip it to white
        gray = np.asarray(image).astype(np.int64)
        least, most = int(gray.min()), int(gray.max())
        if least < 0 or most > 0xFFFF:
            raise ValueError(f"values from {least} to {most}: save it with 8 or 16 bits")
        # a TIFF of 32 bits says nothing of its range; what fits 8 bits was 8 bits
        shift = 0 if image.mode == "I" and image.format == "TIFF" and most <= 0xFF else 8
        return np.repeat((gray >> shift).astype(np.uint8)[:, :, None], 3, axis=2)
    if "transparency" in image.info:  # a palette's transparent entries need this step on the way
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB"))


def _too_large(pixels: str) -> str:
    return f"{pixels} pixels, more than {MAX_PIXELS:,}: a decompression bomb or a scan; shrink it first"
