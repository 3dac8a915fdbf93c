"""What is read of image files beside Pillow: chunks of a PNG, bands of a TIFF, formats without a reader."""

from __future__ import annotations

import contextlib
import io
import zlib
from collections.abc import Mapping
from typing import Any

_PNG = b"\x89PNG\r\n\x1a\n"
_READ_CHUNKS = frozenset([b"tRNS", b"eXIf"])  # of those that a decoder may skip
_XMP = b"XML:com.adobe.xmp\0\0"  # a text that is not compressed; it may have an orientation
_XMP_BYTES = 1 << 20
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS, _PHOTOMETRIC, _SAMPLES, _EXTRA = 258, 262, 277, 338  # tags
_COLOURS = {2: 3, 5: 4, 6: 3, 8: 3}  # bands of RGB, CMYK, YCbCr and LAB; one of everything else
_HEIF_SUFFIXES = (".heic", ".heif", ".hif")
_HEIF = frozenset([b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"])


def png_essentials(data: bytes) -> bytes:
    """A PNG without texts, profiles and animation, which viewers skip if broken; other data as it is.

    Pillow reads these parts before the pixels and refuses the image if one is large or broken.
    """
    if not data.startswith(_PNG):
        return data
    view = memoryview(data)
    kept, start = [view[: len(_PNG)]], len(_PNG)
    while start + 8 <= len(data):
        kind, end = data[start + 4 : start + 8], start + 12 + int.from_bytes(data[start : start + 4])
        if not kind.isalpha():  # broken; Pillow says how
            kept.append(view[start:])
            break
        if kind[:1].isupper() or _wanted(kind, data, start, end):
            kept.append(view[start:end])
        start = end
    return b"".join(kept)


def _wanted(kind: bytes, data: bytes, start: int, end: int) -> bool:
    """Whether a chunk that may be skipped is read and whole."""
    text = kind == b"iTXt" and data.startswith(_XMP, start + 8) and end - start < _XMP_BYTES
    if kind not in _READ_CHUNKS and not text:
        return False
    return zlib.crc32(data[start + 4 : end - 4]) == int.from_bytes(data[end - 4 : end])


def tiff_bands(tiff: bytes | Mapping[int, Any]) -> str:
    """What is wrong with the bands of a TIFF, from its bytes or tags; "" if it is one that can be shown.

    A band beside the colours is transparency only with 8 bits: measurements have 16, and some programs
    declare any fourth band as transparency.
    """
    tags = _tiff_tags(tiff) if isinstance(tiff, bytes) else tiff
    if not tags:
        return ""
    bands = tags.get(_SAMPLES, 1)
    colours = _COLOURS.get(tags.get(_PHOTOMETRIC, 2 if bands > 2 else 1), 1)
    bits, extra = max(tags.get(_BITS, (1,))), tags.get(_EXTRA, ())
    if _SAMPLES not in tags:
        return ""
    transparency = bands == colours + 1 and bits == 8 and (extra[:1] or (2 * (colours > 1),)) != (0,)
    if bands == colours or transparency:
        return ""
    return (
        f"{bands} bands of {bits} bits; an image has 1 band (gray) or 3 (RGB), and may have transparency of "
        "8 bits; save the bands that are the picture"
    )


def _tiff_tags(data: bytes) -> Mapping[int, Any]:
    """The tags of the first page; none of a file that is not a TIFF."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags: dict[int, Any] = {}
    if data.startswith(_TIFF):
        with contextlib.suppress(Exception):  # a broken file; Pillow's parser raises nearly anything
            file = io.BytesIO(data)
            big = data[2:3] == b"+" or data[3:4] == b"+"
            directory = ImageFileDirectory_v2(file.read(16 if big else 8))
            file.seek(directory.next)
            directory.load(file)
            tags = {
                tag: directory[tag] for tag in (_BITS, _PHOTOMETRIC, _SAMPLES, _EXTRA) if tag in directory
            }
    return tags


def heif_help(data: bytes, name: str) -> str:
    """What to do about an image of HEIF, by its bytes or name, if it is not read here; "" for others."""
    heif = data[8:12] in _HEIF if data[4:8] == b"ftyp" else name.rstrip(")").lower().endswith(_HEIF_SUFFIXES)
    return "install pillow-heif, or save it as JPEG" if heif else ""
