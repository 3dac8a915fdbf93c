"""Write a folder so that it appears complete: build it in a locked hidden folder, then move the files.

One file moves last and makes the others valid.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.locks import lock

_PREFIX = ".writing-"
_LOCK = ".lock"
_WRITING_S = 24 * 3600.0  # without locks, a folder that was not written for so long was left behind


@contextmanager
def workspace(out_dir: Path, key: str = "folder", resumable: str = "") -> Iterator[Path]:
    """A folder inside ``out_dir`` to build in. It is removed at the end.

    First removes what killed processes left behind, except under the same key: the next process continues
    with that. If another process is using the folder of this key, or the file system has no locks, this one
    gets a new folder.

    Args:
        out_dir: The folder that the result goes to.
        key: Names the folder, so that the next process with the same key finds it.
        resumable: A glob. After an error the folder is kept if a file in it matches.
    """
    fixed = out_dir / f"{_PREFIX}{key}"
    for left in out_dir.glob(f"{_PREFIX}*"):
        if left != fixed:
            with _locked(left) as free:
                if free or (free is None and _untouched_s(left) > _WRITING_S):
                    shutil.rmtree(left, ignore_errors=True)
    fixed.mkdir(exist_ok=True)
    with _locked(fixed) as mine:
        if mine:
            yield from _building(fixed, resumable)
            return
    while True:
        work = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=out_dir))
        with _locked(work) as mine:
            if mine is not False:  # else another process removed it as left behind before it was locked
                yield from _building(work, "")
                return


def new_array(path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """Create an .npy file that is filled through a memory map, with all its disk space already allocated.

    Without allocation, writing to a full disk through a memory map would kill the process instead of raising.

    Raises:
        OSError: The disk has no room; the error names the file.
    """
    kind = np.dtype(dtype)
    array: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with open(path, "rb+") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(path)) from error
    return array


def _building(work: Path, resumable: str) -> Iterator[Path]:
    try:
        yield work
    except BaseException:
        if not (resumable and any(work.glob(resumable))):
            shutil.rmtree(work, ignore_errors=True)
        raise
    shutil.rmtree(work, ignore_errors=True)


def publish(work: Path, out_dir: Path, last: str) -> None:
    """Move the *.npy files of ``work`` to ``out_dir``, then the file ``last``, which makes them valid.

    If ``out_dir`` already has identical files, another process was faster, and nothing moves. If a file is
    missing or different, ``last`` is removed first, and so are arrays that ``work`` does not have.
    """
    target = out_dir / last
    if target.exists():
        if _same(work, out_dir, last):
            return
        target.unlink(missing_ok=True)  # another process that repairs the folder may have been faster
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
    """Whether ``out_dir`` has the same arrays and the same file ``last`` as ``work``, byte by byte."""
    names = sorted([last, *(file.name for file in work.glob("*.npy"))])
    if names != sorted([last, *(file.name for file in out_dir.glob("*.npy"))]):
        return False
    try:
        return all(filecmp.cmp(work / name, out_dir / name, shallow=False) for name in names)
    except OSError:
        return False


@contextmanager
def _locked(folder: Path) -> Iterator[bool | None]:
    """Yields whether the folder exists and is locked; None if its file system has no locks.

    The lock ends with the block or the process. It is on a file, because NFS locks no folders.
    """
    path = folder / _LOCK
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT)
    except (FileNotFoundError, PermissionError):  # removed meanwhile, or another user's
        yield False
        return
    try:
        held = lock(handle, wait=False)
        yield held and _is_still(path, handle)
    finally:
        os.close(handle)


def _is_still(path: Path, handle: int) -> bool:
    """Whether the name still leads to the locked file: its previous owner may have removed it meanwhile."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _untouched_s(folder: Path) -> float:
    """Seconds since a file of the folder was last written."""
    try:
        return time.time() - max(os.stat(path).st_mtime for path in (folder, *folder.iterdir()))
    except FileNotFoundError:
        return 0.0


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
