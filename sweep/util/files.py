"""Files that appear whole or not at all, and what a killed writer left of them."""

from __future__ import annotations

import os
import platform
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path

_TOKEN = ".swap.tmp"
_TOKEN_S = 60.0  # a token is held for a few system calls
_OURS_S = 24 * 3600.0  # a file that somebody writes has been written to in this time


def temporary(folder: Path, name: str) -> Path:
    """A name that says who writes it, so that what a dead process left can be told from work in progress."""
    plain = name.replace(".", "-")
    return folder / f".{plain}.{here()}.{os.getpid()}.{uuid.uuid4().hex}.tmp"


@lru_cache(maxsize=1)
def here() -> str:
    """Where an id of a process means something: this machine, and on it the container."""
    return f"{platform.node()}-{''.join(filter(str.isdigit, space()))}"


def space() -> str:
    """This process's namespace of process ids; containers have their own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name of one's own to write under; the file appears under ``path`` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = temporary(path.parent, path.name)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def token_of(path: Path, version: str) -> Path:
    """The file whose owner alone may replace what is at ``path``, while it is of this version."""
    return path.parent / f".{path.name}.{version[:16]}{_TOKEN}"


def mark() -> bytes:
    """What a token holds: who has it."""
    return f"{here()} {os.getpid()}".encode()


def remove_abandoned(folder: Path) -> None:
    """Delete the temporary files, folders and tokens in ``folder`` whose writer is a process of this machine
    that is no more; of other machines, what nobody has written to for a day, and tokens of a minute."""
    for leftover in folder.glob(".*.tmp"):
        if leftover.name.endswith(_TOKEN):
            abandoned = _token_abandoned(leftover)
        else:
            abandoned = left_behind(leftover.name, partial(_untouched_s, leftover))
        if abandoned and leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        elif abandoned:
            leftover.unlink(missing_ok=True)


def left_behind(name: str, untouched_s: Callable[[], float]) -> bool:
    """Whether what has a name made by `temporary` has lost its writer: a process of this machine that is no
    more, or of another and nobody has written to it for a day."""
    host, _, writer = _middle(name).rpartition(".")
    return _dead(host, writer) or (host != here() and untouched_s() > _OURS_S)


def _middle(name: str) -> str:
    """Host and process in the name of a temporary file; '' in that of somebody else's."""
    return name.removesuffix(".tmp").partition(".")[2].partition(".")[2].rpartition(".")[0]


def _token_abandoned(token: Path) -> bool:
    try:
        host, _, writer = token.read_text().rpartition(" ")
        since = token.stat().st_mtime
    except FileNotFoundError:
        return False
    return _dead(host, writer) or _now_in(token.parent) - since > _TOKEN_S


def _untouched_s(leftover: Path) -> float:
    try:
        return _now_in(leftover.parent) - leftover.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _now_in(folder: Path) -> float:
    """The time of the file system: its server may have another clock than this machine."""
    probe = temporary(folder, "now")
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _dead(host: str, writer: str) -> bool:
    if host != here() or not writer.isdigit():
        return False
    try:
        os.kill(int(writer), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
