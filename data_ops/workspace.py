"""Write a folder so that it appears whole: build in a locked hidden folder, move in place, one file last."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = ".writing-"


@contextmanager
def workspace(out_dir: Path) -> Iterator[Path]:
    """A folder inside `out_dir` to build in, removed at the end; left-overs of killed processes go first."""
    for left in out_dir.glob(f"{_PREFIX}*"):
        with _lock(left) as free:
            if free:
                shutil.rmtree(left, ignore_errors=True)
    while True:
        work = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=out_dir))
        with _lock(work) as mine:
            if not mine or not work.exists():  # another process took it for a left-over before it was locked
                continue
            try:
                yield work
            finally:
                shutil.rmtree(work, ignore_errors=True)
            return


def publish(work: Path, out_dir: Path, last: str) -> None:
    """Move the *.npy files of `work` to `out_dir`, then the file `last`, which makes them valid.

    Nothing moves where the same `last` stands already: another process was faster. A different one is
    withdrawn.
    """
    target = out_dir / last
    if target.exists():
        if target.read_bytes() == (work / last).read_bytes():
            return
        target.unlink()
    for file in sorted(work.glob("*.npy")):
        _sync(file)
        os.replace(file, out_dir / file.name)
    _sync(out_dir)
    _sync(work / last)
    os.replace(work / last, target)
    _sync(out_dir)


@contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """Whether the folder's lock could be taken. It is held inside the block, and ends with the process."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        yield _take(handle)
    finally:
        os.close(handle)


def _take(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
