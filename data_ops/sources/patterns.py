"""The files that a name stands for: itself, a folder, a glob, or a brace expression as in a shell."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from ssl_sweep.data_ops.dataset.passed_over import Tally
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.sources.image_kinds import junk
from ssl_sweep.data_ops.sources.listing import printable
from ssl_sweep.data_ops.sources.remote import is_remote, remote_files
from ssl_sweep.data_ops.sources.walk import entries, is_folder, pass_over

_BRACES = re.compile(r"\{([^{}]*)\}")
_NULL = "__HIVE_DEFAULT_PARTITION__"


def files_of(where: str, suffix: str, tally: Tally) -> list[Path]:
    """The files with ``suffix`` that a name stands for, in order; junk and other files are counted.

    What exists under a name, or under its first parts, is taken as it is, even if it looks like a pattern. In
    a folder, folders named ``column=value`` are read too.

    Raises:
        DataError: No file was found.
    """
    if is_remote(where):
        found = [path for name in _expand(where) for path in remote_files(name, suffix)]
        return _required(where, suffix, [path for path in found if not _junk(path, tally)])
    root, rest = _existing(where)
    files: list[Path] = []
    for name in _expand(rest):
        path = root / name if name else root
        if path.is_file():
            found = [path]
        elif path.is_dir():
            found = list(_in_folder(path, suffix, tally))
        else:
            matches = sorted(map(Path, glob.glob(os.path.join(glob.escape(str(root)), name), recursive=True)))
            found = [match for match in matches if match.is_file() and not _junk(match, tally)]
        files += _required(str(path), suffix, found)
    return files


def partition_values(path: Path) -> dict[str, str | None]:
    """The columns that the folders of a file give: ``label=cat/part.parquet`` has the label cat."""
    pairs = (part.partition("=") for part in path.parts[:-1] if "=" in part)
    return {unquote(name): None if value == _NULL else unquote(value) for name, _, value in pairs}


def _required(name: str, suffix: str, found: list[Path]) -> list[Path]:
    if not found:
        pattern = glob.has_magic(name) or is_remote(name) or os.path.isdir(name)
        what = f"no {suffix} files here" if pattern else "no such file or folder"
        raise DataError(f"{name}: {what}; check the path")
    return found


def _existing(where: str) -> tuple[Path, str]:
    """The longest part of a name that exists, and the rest of the name."""
    path, rest = Path(where), ""
    while not path.exists() and path != path.parent:
        rest = os.path.join(path.name, rest) if rest else path.name
        path = path.parent
    return path, rest


def _in_folder(folder: Path, suffix: str, tally: Tally) -> Iterator[Path]:
    for entry in entries(folder, tally):
        if is_folder(entry):
            if "=" in entry.name:
                yield from _in_folder(Path(entry.path), suffix, tally)
            else:
                tally.add(f"folders beside '{suffix}' files", printable(entry.path), "lost")
        elif entry.name.lower().endswith(suffix):
            yield Path(entry.path)
        else:
            pass_over(entry.path, tally)


def _junk(path: Path, tally: Tally) -> bool:
    reason = junk(path.name)
    if reason:
        tally.add(reason, printable(str(path)), "junk")
    return bool(reason)


def _expand(where: str) -> Iterator[str]:
    """Expand {a,b} and {000..012} in a name, as a shell does."""
    found = _BRACES.search(where)
    if found is None:
        yield where
        return
    bounds = re.fullmatch(r"(\d+)\.\.(\d+)", found[1])
    if bounds:
        width = len(bounds[1])
        choices = [f"{i:0{width}}" for i in range(int(bounds[1]), int(bounds[2]) + 1)]
    else:
        choices = found[1].split(",")
    for choice in choices:
        yield from _expand(where[: found.start()] + choice + where[found.end() :])
