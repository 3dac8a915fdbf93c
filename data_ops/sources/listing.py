"""What a source lists before anything is decoded: the names, labels, groups and files of images."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.dataset.passed_over import PassedOver
from ssl_sweep.data_ops.errors import DataError, remedy
from ssl_sweep.data_ops.sources.decode import decode_rgb
from ssl_sweep.data_ops.sources.remote import cached_stamp, is_remote, read_remote

Pixels = npt.NDArray[np.uint8]
Labels = tuple[str | None, ...]  # fine to coarse; None at every level if the image has no label
Stamp = tuple[str, int, int]  # path, bytes, time of the last change in ns; -1 for a missing file


@dataclasses.dataclass(frozen=True)
class RawImage:
    """An image that is not decoded yet."""

    name: str
    """Its file, or its place in one."""
    decode: Callable[[], Pixels]
    """Gives (H, W, 3) uint8, or raises DataError."""
    labels: Labels
    group: str | None = None
    """The scene, patient or track that the image belongs to; None if it has no group."""


@dataclasses.dataclass(frozen=True)
class Listing:
    """A split before decoding. Its labels are as written; ``registry.open_source`` cleans them."""

    n: int
    cells: tuple[Counter[str | None], ...]
    """How many images have each label, by level, and then each group. Empty if the program made the images:
    then all have clean labels."""
    stamps: list[Stamp]
    """They change if a file of the split changes."""
    read: Callable[[], Iterator[RawImage]]
    """Goes through the images in a fixed order. It does not decode them."""
    passed_over: tuple[PassedOver, ...] = ()
    """What was found beside the images."""
    always_missing: frozenset[str] = frozenset()
    """Cells that earlier versions read as missing, too: they do not change the signature."""


@dataclasses.dataclass(frozen=True, slots=True)
class FileImage:
    """An image in a file by itself."""

    path: str
    """A path, or the address of an object in a store."""
    labels: Labels
    group: str | None = None


def list_files(
    images: Sequence[FileImage], *tables: Path, passed_over: tuple[PassedOver, ...] = ()
) -> Listing:
    """The listing of image files. ``tables`` are the files with the labels, which are stamped too."""
    stamps = [stamp(path) for path in tables]
    stamps += [_stamp_of(image.path) for image in images if not is_remote(image.path)]
    read = functools.partial(_read_files, images)
    groups = [image.group for image in images]
    return listed([image.labels for image in images], stamps, read, groups, passed_over)


def listed(
    labels: Sequence[Labels],
    stamps: list[Stamp],
    read: Callable[[], Iterator[RawImage]],
    groups: Sequence[str | None] = (),
    passed_over: tuple[PassedOver, ...] = (),
) -> Listing:
    """The listing of images whose labels and groups are known."""
    cells = [Counter(row[level] for row in labels) for level in range(len(labels[0]) if labels else 0)]
    return Listing(len(labels), (*cells, Counter(groups)), stamps, read, passed_over)


def read_otherwise(listing: Listing, how: str) -> Listing:
    """The listing of labels that earlier versions read wrongly, with the stamp ``how``.

    So a dataset that an earlier version prepared from the same files is not mistaken for this one.
    """
    return dataclasses.replace(listing, stamps=[*listing.stamps, (how, 0, 0)])


def stamp(path: str | Path) -> Stamp:
    """The stamp of a file, which changes if the file changes.

    A file that cannot be seen gets a stamp too: reading it later raises an error with its name. The stamp of
    a cached download has its address, not the place of the cache.
    """
    return cached_stamp(str(path)) or _stamp_of(str(path))


def _stamp_of(path: str) -> Stamp:
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # a value error if the path holds a NUL character
        return path, -1, -1
    return path, status.st_size, status.st_mtime_ns


def label_text(where: str, cell: object) -> str | None:
    """A typed cell of a table as text; None for null, NaN and "". Whole floats count as integers.

    Raises:
        DataError: The cell is neither an integer nor a string.
    """
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, str) or type(cell) is int:
        # JSON and npz may hold half a character, which no file can
        return str(cell).encode("utf-8", "backslashreplace").decode() or None
    raise DataError(f"{where}: {cell!r} is not a label; labels are integers or strings")


def printable(name: str) -> str:
    r"""A file's name as text that every file and terminal accepts: bytes that are not UTF-8 become \x…"""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def read_file(path: str) -> Pixels:
    """Decode one file or address.

    Raises:
        DataError: It cannot be read or is not an image; the message names it.
    """
    name = printable(path)
    if is_remote(path):
        return decode_rgb(read_remote(path), name)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror}); {remedy(error)}") from error
    except ValueError as error:
        raise DataError(f"{name!r}: not a path ({error}); correct it") from error
    return decode_rgb(data, name)


def _read_files(images: Sequence[FileImage]) -> Iterator[RawImage]:
    for image in images:
        yield RawImage(
            printable(image.path), functools.partial(read_file, image.path), image.labels, image.group
        )
