"""Refuses to write where the images of a grid are: what is written there would be read as images."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

from ssl_sweep.data_ops.sources.remote import is_remote
from ssl_sweep.sweep.errors import UsageError
from ssl_sweep.sweep.grid.load import read_grid
from ssl_sweep.sweep.store.store import Store

_KEYS = ("train", "test", "unlabelled")
"""The fields of sources that name a folder to search for files."""


def require_outside_images(
    grid: str | Path, overrides: Iterable[str], target: str | Path, what: str, option: str
) -> None:
    """Refuse a place inside an image folder of a grid.

    Args:
        grid: The grid file.
        overrides: ``KEY=VALUE`` changes of it.
        target: The file or folder to write; an address is always outside.
        what: What it is, for the message: "the store".
        option: The option that sets it.

    Raises:
        UsageError: it is inside; names the dataset's line.
    """
    read, _ = read_grid(grid, overrides)
    for name, entry in read.datasets.items():
        for key in _KEYS:
            if _inside(target, getattr(entry.value, key, None)):
                where = read.source.problem((*entry.path, key), f"datasets.{name}.{key}")
                raise _refusal(str(where), target, what, option)


def require_outside_stored(store: Store, target: str | Path, what: str, option: str) -> None:
    """Refuse a place inside an image folder of a dataset that was prepared in a store.

    Args:
        store: The store.
        target: The file to write.
        what: What it is, for the message.
        option: The option that sets it.

    Raises:
        UsageError: it is inside.
    """
    for manifest in store.manifests("prepare"):
        source = manifest.spec.get("source") or {}
        for key in _KEYS:
            if _inside(target, source.get(key)):
                raise _refusal(f"{source[key]} has images", target, what, option)


def _refusal(where: str, target: str | Path, what: str, option: str) -> UsageError:
    return UsageError(
        f"{where}: {what} {target} is inside this folder, and its files would be read as images",
        hint=f"choose a place outside with {option}",
    )


def _inside(target: str | Path, where: object) -> bool:
    """Whether a place is inside the folder that a field of a source names, or matches its pattern."""
    if not isinstance(where, str) or is_remote(where) or is_remote(str(target)):
        return False
    place = Path(os.path.realpath(target))
    fixed, pattern, _ = where.partition("**")
    if pattern:
        return place.is_relative_to(os.path.realpath(os.path.dirname(fixed)))
    if os.path.isdir(where):
        return place.is_relative_to(os.path.realpath(where))
    folder, name = os.path.split(where)
    return place.parent == Path(os.path.realpath(folder)) and fnmatch(place.name, name)
