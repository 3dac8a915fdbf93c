"""Write a folder so that it appears whole: build in a locked hidden folder, move in place, one file last."""

from __future__ import annotations

import fcntl
import filecmp
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = ".writing-"


@contextmanager
def workspace(out_dir: Path, key: str = "folder", resumable: str = "") -> Iterator[Path]:
    """A folder inside `out_dir` to build in, removed at the end; left-overs of killed processes go first.

    It has a fixed name by `key`, so that what a killed process left under the same key is found in it. After
    an error it stays where it holds a file that matches the glob `resumable`. While another process has it,
    this one gets a folder of its own.
    """
    fixed = out_dir / f"{_PREFIX}{key}"
    for left in out_dir.glob(f"{_PREFIX}*"):
        if left != fixed:
            with _lock(left) as free:
                if free:
                    shutil.rmtree(left, ignore_errors=True)
    fixed.mkdir(exist_ok=True)
    with _lock(fixed) as mine:
        if mine:
            yield from _building(fixed, resumable)
            return
    while True:
        work = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=out_dir))
        with _lock(work) as mine:
            if mine:  # else another process took it for a left-over before it was locked
                yield from _building(work, "")
                return


def _building(work: Path, resumable: str) -> Iterator[Path]:
    try:
        yield work
    except BaseException:
        if not (resumable and any(work.glob(resumable))):
            shutil.rmtree(work, ignore_errors=True)
        raise
    shutil.rmtree(work, ignore_errors=True)


def publish(work: Path, out_dir: Path, last: str) -> None:
    """Move the *.npy files of `work` to `out_dir`, then the file `last`, which makes them valid.

    Nothing moves where all the same files stand already: another process was faster. If one is missing or
    another, damaged ones included, `last` is withdrawn first, and arrays that `work` does not have go.
    """
    target = out_dir / last
    if target.exists():
        if _same(work, out_dir, last):
            return
        target.unlink(missing_ok=True)  # another process that repairs may have been faster
    for stale in out_dir.glob("*.npy"):
        if not (work / stale.name).exists():
            stale.unlink(missing_ok=True)
    for file in sorted(work.glob("*.npy")):
        _sync(file)
        os.replace(file, out_dir / file.name)
    _sync(out_dir)
    _sync(work / last)
    os.replace(work / last, target)
    _sync(out_dir)


def _same(work: Path, out_dir: Path, last: str) -> bool:
    """Whether `out_dir` has the very arrays and the `last` of `work`, byte by byte."""
    names = sorted([last, *(file.name for file in work.glob("*.npy"))])
    if names != sorted([last, *(file.name for file in out_dir.glob("*.npy"))]):
        return False
    try:
        return all(filecmp.cmp(work / name, out_dir / name, shallow=False) for name in names)
    except OSError:
        return False


@contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """Whether the folder is there and its lock could be taken. It is held inside the block, and ends with the
    process."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        yield _take(handle) and _is_still(folder, handle)
    finally:
        os.close(handle)


def _take(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(folder: Path, handle: int) -> bool:
    """Whether the name still leads to the locked folder: its last owner may have removed it meanwhile."""
    try:
        return os.path.samestat(os.stat(folder), os.fstat(handle))
    except FileNotFoundError:
        return False


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
