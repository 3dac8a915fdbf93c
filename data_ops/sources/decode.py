"""Encoded bytes to RGB pixels, and pixels to the working size: one decoder and one resampler for all.

The pixels are those that a picture viewer shows: upright, and transparent parts on white.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.errors import BadImageError
from ssl_sweep.data_ops.sources.containers import heif_help, png_essentials, tiff_bands

RESIZE_RULE = (
    "pillow-bilinear-antialias-centre-square-1"  # part of the fingerprint; change it when pixels change
)
DECODE_RULE = "upright-on-white-1"
"""Changes when any image is decoded otherwise: a preparation that was killed before does not go on."""
MAX_PIXELS = 1 << 26
"""8192 x 8192. Up to this size a file may be as small as it likes."""
_PIXELS_PER_BYTE = 100  # of a larger image; photographs have 60 at most, a decompression bomb has hundreds
_large = threading.Lock()  # larger images are decoded one at a time, which bounds the memory

WHITE = 255
"""What transparent pixels are composited on, in all three channels."""
DEEP_WHITE = 0xFFFF
"""White in a file of 16 bits, as its format defines it; the values that are in it may stay far below."""
_DEEP_AS_I = ("PNG", "PPM")  # formats that define white; some versions of Pillow open their 16 bits as 32
_NO_PICTURES = frozenset(["BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"])
"""Formats that Pillow recognises but cannot decode, or only by running another program (Ghostscript)."""
_OPTIONAL_READERS = {"pillow_heif": "register_heif_opener"}
_ORIENTATION = 0x0112  # tag of EXIF and TIFF
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # tag of TIFF
_POINTER = b"version https://git-lfs."  # what a clone without Git LFS holds in place of large files
_GRAY_STEP = {"L;2": 85, "L;4": 17}  # from a file's gray value to Pillow's

Pixels = npt.NDArray[np.uint8]

_noted: ContextVar[list[int] | None] = ContextVar("brightest values of 16-bit images", default=None)


class _UnclearError(ValueError):
    """A sound file whose values do not say what they look like, and what to do about it."""


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


@functools.cache
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are decoded, with those of optional readers that are installed."""
    from PIL import Image

    for module, register in _OPTIONAL_READERS.items():
        with contextlib.suppress(ImportError):
            getattr(importlib.import_module(module), register)()
    Image.preinit()  # the usual formats first
    Image.init()
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of tags that do not matter, and of sizes
    return tuple(name for name in Image.ID if name not in _NO_PICTURES)


def decode_rgb(data: bytes, name: str) -> Pixels:
    """Decode any file that Pillow reads to (H, W, 3) uint8, whatever its name.

    The EXIF orientation is applied, and ignored if its tag is broken. Transparent pixels are composited on
    white. Gray becomes three equal channels, and 16 bits are scaled to 8. The first frame or page is read; of
    an icon file, the largest picture. Colour profiles and texts are not read.

    Args:
        data: The file's bytes.
        name: What errors call the image.

    Raises:
        BadImageError: The image is empty, broken, cut short or too large, has bands of unknown meaning, or
            its values are not 8- or 16-bit integers.
    """
    from PIL import Image, UnidentifiedImageError

    def bad(what: str) -> BadImageError:
        return BadImageError(name, what, hashlib.sha256(data).hexdigest())

    unread = "" if "HEIF" in formats() else heif_help(data, name)
    if not data:
        raise bad(
            "empty image; replace or remove it" + (f". HEIC is not read here; {unread}" if unread else "")
        )
    if data.startswith(_POINTER):
        raise bad("a pointer of Git LFS instead of an image; run git lfs pull")
    try:
        with Image.open(io.BytesIO(png_essentials(data)), formats=formats()) as image:
            pixels = image.width * image.height
            if pixels <= MAX_PIXELS:
                return to_rgb(image)
            if pixels > _PIXELS_PER_BYTE * len(data):
                what = f"{image.width} x {image.height} pixels in a file of {len(data):,} bytes"
                raise bad(f"{what}: a decompression bomb; shrink or remove it")
            with _large:
                return to_rgb(image)
    except BadImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = f"{2 * Image.MAX_IMAGE_PIXELS:,} pixels" if Image.MAX_IMAGE_PIXELS else "Pillow's limit"
        raise bad(f"more than {limit}: a decompression bomb or a large scan; shrink it first") from None
    except _UnclearError as error:
        raise bad(str(error)) from None
    except UnidentifiedImageError:
        if unread:
            raise bad(f"HEIC is not read here; {unread}") from None
        raise bad(tiff_bands(data) or "not a readable image (unknown format); replace or remove it") from None
    except Exception as error:  # broken files make Pillow's decoders raise nearly anything
        raise bad(f"not a readable image ({_reason(error)}); replace or remove it") from error


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
    """(H, W, 3) uint8 of an open Pillow image, upright and on white.

    Raises:
        ValueError: The values are not 8- or 16-bit integers, or there are bands of unknown meaning.
    """
    layout = _layout(image)
    if image.mode == "F":
        raise _UnclearError("floating-point values of unknown range; save it with 8 or 16 bits")
    if image.mode == "I" and image.format not in _DEEP_AS_I:
        raise _UnclearError(
            "signed or 32-bit integers, whose white is not defined; save it with 8 or 16 bits"
        )
    tags = getattr(image, "tag_v2", {})
    if what := tiff_bands(tags):
        raise _UnclearError(what)
    frame = image.tile[0][1] if image.format == "GIF" and image.tile else None
    image.load()  # a PNG may have its orientation after the pixels
    if image.mode.startswith("I"):
        pixels = _deep_gray(image, layout, inverted=tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO)
    else:
        pixels = _colours(image, layout)
    if frame is not None and frame != (0, 0, *image.size):  # the rest of a GIF's screen is transparent
        left, top, right, bottom = frame
        screen = np.full_like(pixels, WHITE)
        screen[top:bottom, left:right] = pixels[top:bottom, left:right]
        pixels = screen
    return _upright(pixels, image)


def over_white(rgba: Pixels) -> Pixels:
    """(..., 4) colours and opacity composited on white: (..., 3). Opaque pixels keep their values."""
    pixels = np.ascontiguousarray(rgba[..., :3])
    through = rgba[..., 3] < 255
    if through.any():
        colour, opacity = pixels[through].astype(np.uint16), rgba[through][:, 3:].astype(np.uint16)
        pixels[through] = (colour * opacity + WHITE * (255 - opacity) + 127) // 255
    return pixels


def _deep_gray(image: Any, layout: str, *, inverted: bool) -> Pixels:
    """16-bit gray, which Pillow's own conversion would clip to white."""
    deep = np.asarray(image).astype(np.int64)
    gray = deep >> 4 if layout == "I;12" else deep >> 8  # a TIFF may declare 12 bits
    if inverted:
        deep, gray = DEEP_WHITE - deep, 255 - gray
    if layout != "I;12":
        _note(int(deep.max()))
    if isinstance(clear := image.info.get("transparency"), int):
        gray = np.where(deep == clear, WHITE, gray)
    return np.repeat(gray.astype(np.uint8)[:, :, None], 3, axis=2)


def _colours(image: Any, layout: str) -> Pixels:
    deep = layout.endswith((";16B", ";16L", ";16N"))  # Pillow takes the upper byte of each colour
    clear = image.info.get("transparency")
    if isinstance(clear, tuple) and deep:
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    elif isinstance(clear, int):
        image.info["transparency"] = clear * _GRAY_STEP.get(layout, 1)
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        if deep:
            _note(int(rgba[..., :3].max()) << 8 | 0xFF)
        return over_white(rgba)
    pixels = np.asarray(image.convert("RGB"))
    if deep:
        _note(int(pixels.max()) << 8 | 0xFF)
    return pixels


def _upright(pixels: Pixels, image: Any) -> Pixels:
    """The pixels turned as the file's orientation tag says. Pillow itself turns a TIFF when it loads it."""
    try:
        orientation = int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # viewers ignore broken tags, of which Pillow's parser raises nearly anything
        return pixels
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _layout(image: Any) -> str:
    """How a file lays out its values, in Pillow's terms; empty without a file, or once it was read."""
    tiles = getattr(image, "tile", None) or [("", (), 0, "")]
    arguments = tiles[0][3]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _note(brightest: int) -> None:
    found = _noted.get()
    if found is not None:
        found.append(brightest)


def _reason(error: Exception) -> str:
    """What an error of Pillow says, on one line and without memory addresses, which differ every time."""
    text = re.sub(r"<[^<>]* at 0x[0-9a-fA-F]+>", "the file", " ".join(str(error).split()))
    return text[:200] or type(error).__name__
