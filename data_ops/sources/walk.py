"""The image files below a folder. Everything else that is found there is counted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ssl_sweep.data_ops.dataset.passed_over import Tally
from ssl_sweep.data_ops.errors import DataError, remedy
from ssl_sweep.data_ops.sources.image_kinds import HEAD, described, junk, kind_of, starts_as_image
from ssl_sweep.data_ops.sources.listing import printable
from ssl_sweep.data_ops.sources.own_output import is_own_output


def images_below(folder: str | os.PathLike[str], tally: Tally) -> list[str]:
    """The image files at any depth, in name order. Links are followed; a folder is read once.

    A link to nothing counts as an image if its name is one of an image, so that reading it raises an error.

    Raises:
        DataError: A folder cannot be listed.
    """
    return list(_walk(os.fspath(folder), tally, _around(folder)))


def entries(folder: str | os.PathLike[str], tally: Tally) -> list[os.DirEntry[str]]:
    """What is in a folder, in name order, without junk and without the program's own output.

    Raises:
        DataError: The folder cannot be listed.
    """
    try:
        with os.scandir(folder) as listed:
            found = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"{printable(os.fspath(folder))}: cannot be listed ({error.strerror}); {remedy(error)}"
        ) from error
    kept = []
    for entry in found:
        if reason := junk(entry.name):
            tally.add(reason, printable(entry.path), "junk")
        elif is_folder(entry) and is_own_output(entry.path):
            tally.add("stores and reports of this program", printable(entry.path), "junk")
        else:
            kept.append(entry)
    return kept


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether a directory entry is a folder or a link to one. A link to itself is neither folder nor file."""
    return _leads_somewhere(entry) and entry.is_dir()


def _leads_somewhere(entry: os.DirEntry[str]) -> bool:
    return not entry.is_symlink() or os.path.exists(entry.path)


def _around(folder: str | os.PathLike[str]) -> set[tuple[int, int]]:
    """The folders that hold a folder. A link to one of them is a cycle, and leads to other classes."""
    holders = {*Path(os.path.realpath(folder)).parents, *Path(folder).absolute().parents}
    return {(status.st_dev, status.st_ino) for status in map(os.stat, holders)}


def _walk(folder: str, tally: Tally, seen: set[tuple[int, int]]) -> Iterator[str]:
    status = os.stat(folder)
    if (status.st_dev, status.st_ino) in seen:
        tally.add("links to a folder that is read already", printable(folder), "junk")
        return
    seen.add((status.st_dev, status.st_ino))
    others = []
    stems = set()
    for entry in entries(folder, tally):
        if is_folder(entry):
            yield from _walk(entry.path, tally, seen)
        elif is_image_file(entry):
            stems |= {entry.name, os.path.splitext(entry.name)[0]}
            yield entry.path
        else:
            others.append(entry)
    for entry in others:
        pass_over(entry.path, tally, beside_image=os.path.splitext(entry.name)[0] in stems)


def is_image_file(entry: os.DirEntry[str]) -> bool:
    """Whether a directory entry is an image, from its name or else from its first bytes."""
    kind = kind_of(entry.name)
    if kind != "unknown":
        return kind == "image" and (not _leads_somewhere(entry) or entry.is_file())
    if not _leads_somewhere(entry) or not entry.is_file():
        return False
    try:
        with open(entry.path, "rb") as file:
            return starts_as_image(file.read(HEAD))
    except OSError:
        return False


def pass_over(path: str, tally: Tally, *, beside_image: bool = False) -> None:
    """Count a file that is not an image. ``beside_image``: it has the name of an image beside it."""
    sidecar = beside_image or kind_of(path) == "text"
    tally.add(described(path), printable(path), "sidecar" if sidecar else "lost")
