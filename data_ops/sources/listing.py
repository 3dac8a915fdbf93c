"""What a source lists before anything is decoded: images by name, labels and group, and their files."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.sources.decode import decode_rgb
from ssl_sweep.data_ops.sources.remote import cached_stamp, is_remote, read_remote

Pixels = npt.NDArray[np.uint8]
Labels = tuple[str | None, ...]  # fine to coarse; None at every level: unlabelled
Stamp = tuple[str, int, int]  # path, bytes, time of change in ns; -1 for a file that is not there


@dataclasses.dataclass(frozen=True)
class RawImage:
    """An image not decoded yet. `name` tells where; `decode` gives (H, W, 3) uint8 or raises DataError.

    `group` names the scene, patient or track it belongs to, None where the source has no groups.
    """

    name: str
    decode: Callable[[], Pixels]
    labels: Labels
    group: str | None = None


@dataclasses.dataclass(frozen=True)
class Listing:
    """One split, sized up. `read` goes through it in a fixed order and decodes nothing by itself.

    `n_labeled` of the `n` images have a label; `classes` are the labels at the finest level. `stamps` change
    when a file of the split does.
    """

    n: int
    n_labeled: int
    classes: frozenset[str]
    stamps: list[Stamp]
    read: Callable[[], Iterator[RawImage]]


@dataclasses.dataclass(frozen=True, slots=True)
class FileImage:
    """An image that is a file of its own; `path` may be the address of an object store."""

    path: str
    labels: Labels
    group: str | None = None


def list_files(images: Sequence[FileImage], *tables: Path) -> Listing:
    """The listing of image files. `tables` are files that the labels came from: they are stamped too."""
    stamps = [stamp(path) for path in tables]
    stamps += [_stamp_of(image.path) for image in images if not is_remote(image.path)]
    return listed([image.labels for image in images], stamps, functools.partial(_read_files, images))


def listed(labels: Sequence[Labels], stamps: list[Stamp], read: Callable[[], Iterator[RawImage]]) -> Listing:
    """The listing of images whose labels are known."""
    fine = [row[0] for row in labels]
    n_labeled = len(fine) - fine.count(None)
    classes = frozenset(label for label in fine if label is not None)
    return Listing(len(fine), n_labeled, classes, stamps, read)


def read_otherwise(listing: Listing, how: str) -> Listing:
    """The listing of labels that earlier versions read wrongly: stamped with `how`, so that what they
    prepared of these files is not taken for what would be prepared now."""
    return dataclasses.replace(listing, stamps=[*listing.stamps, (how, 0, 0)])


def stamp(path: str | Path) -> Stamp:
    """What tells a changed file from an unchanged one. A file that cannot be seen has one too, so that
    reading it names it; a cached download is stamped by its address, not by where the cache is."""
    return cached_stamp(str(path)) or _stamp_of(str(path))


def _stamp_of(path: str) -> Stamp:
    try:
        status = os.stat(path)
    except OSError:
        return path, -1, -1
    return path, status.st_size, status.st_mtime_ns


def label_text(where: str, cell: object) -> str | None:
    """A cell of a table as a label or group. Null, NaN and "" are none; whole floats, which pandas makes of
    integers beside nulls, are integers. DataError for anything else."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, str) or type(cell) is int:
        return str(cell) or None
    raise DataError(f"{where}: {cell!r} is no label; labels are integers or strings")


def printable(name: str) -> str:
    r"""A file's name as text that every file and terminal takes: bytes that are no UTF-8 become \x…"""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def read_file(path: str) -> Pixels:
    """Decode one file or address. DataError naming it where it cannot be read or is no image."""
    name = printable(path)
    if is_remote(path):
        return decode_rgb(read_remote(path), name)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(
            f"{name}: cannot be read ({error.strerror}); restore it or its permissions"
        ) from error
    return decode_rgb(data, name)


def _read_files(images: Sequence[FileImage]) -> Iterator[RawImage]:
    for image in images:
        yield RawImage(
            printable(image.path), functools.partial(read_file, image.path), image.labels, image.group
        )
