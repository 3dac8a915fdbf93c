"""Files that appear whole or not at all, what a killed writer left of them, and their SHA-256."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path

from ssl_sweep.sweep.util.processes import ended, here

_TOKEN = ".swap.tmp"
_MAX_NAME = 64  # bytes of the name that a temporary name begins with; file systems allow 255 in all
_TOKEN_S = 60.0  # a token is held for a few system calls
_TOKEN_WAIT_S = 0.02
_NO_LINKS = {
    errno.EPERM,
    errno.EACCES,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.ENOTSUP,
    errno.EINVAL,
    errno.EMLINK,
}
_WRITING_S = 24 * 3600.0  # a file that is still being written has changed within this time


def temporary(folder: Path, name: str) -> Path:
    """A new name in ``folder`` that names its writer, which tells leftovers of a dead process from work in
    progress."""
    plain = os.fsencode(name.replace(".", "-"))[:_MAX_NAME].decode("utf-8", "ignore")
    return folder / f".{plain}.{here()}.{os.getpid()}.{uuid.uuid4().hex}.tmp"


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; the file appears at ``path`` if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = temporary(path.parent, path.name)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def appear(partial: Path, final: Path) -> bool:
    """Move a complete file to a name, unless the name is taken; returns whether it moved. Either way
    ``partial`` is gone.

    link() is atomic and, unlike rename(), never replaces. If the file system has no hard links, like FAT and
    some network file systems, a token keeps two writers apart, and the file still appears complete.
    """
    try:
        os.link(partial, final)
        return True
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _appear_without_link(partial, final)
    finally:
        partial.unlink(missing_ok=True)


def _appear_without_link(partial: Path, final: Path) -> bool:
    if final.name.endswith(_TOKEN):  # complete as soon as it exists; its content only tells whose it is
        return _create(final, partial.read_bytes())
    token = token_of(final, "new")
    while not _create(token, token_holder()):
        if final.exists():
            return False
        remove_abandoned(token.parent)
        time.sleep(_TOKEN_WAIT_S)
    try:
        if final.exists():
            return False
        partial.replace(final)
        return True
    finally:
        token.unlink(missing_ok=True)


def _create(path: Path, data: bytes) -> bool:
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        return False
    return True


def token_of(path: Path, version: str) -> Path:
    """The token of one version of ``path``: only its holder may replace that version."""
    return path.parent / f".{path.name}.{version[:16]}{_TOKEN}"


def token_holder() -> bytes:
    """The content of a token that this process holds."""
    return f"{here()} {os.getpid()}".encode()


def remove_abandoned(folder: Path) -> None:
    """Delete the temporary files, folders and tokens in ``folder`` that have lost their writer.

    A writer on this machine is lost if its process has ended. A writer on another machine is lost if nothing
    was written for a day; for a token, a minute.
    """
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
    """Whether the writer of a file is lost, by the ``name`` that ``temporary`` made.

    Args:
        untouched_s: returns the seconds since the last write; called only for writers on other machines.
    """
    # .<name>.<host>.<process>.<random>.tmp; a host name may have dots
    writer = name.removesuffix(".tmp").partition(".")[2].partition(".")[2].rpartition(".")[0]
    host, _, pid = writer.rpartition(".")
    return _dead(host, pid) or (host != here() and untouched_s() > _WRITING_S)


def _token_abandoned(token: Path) -> bool:
    try:
        host, _, pid = token.read_text().rpartition(" ")
        since = token.stat().st_mtime
    except FileNotFoundError:
        return False
    return _dead(host, pid) or _now_in(token.parent) - since > _TOKEN_S


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


def _dead(host: str, pid: str) -> bool:
    return host == here() and pid.isdigit() and ended(int(pid)) is True


def digest(path: Path) -> str:
    """SHA-256 of a file as it is now, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached_digest(path: Path) -> str:
    """``digest``, but a file that has not been touched since is read once per process."""
    found = os.stat(path)
    return _digest(str(path), found.st_size, found.st_mtime_ns, found.st_ino)


@lru_cache(maxsize=4096)
def _digest(path: str, size: int, modified: int, inode: int) -> str:
    return digest(Path(path))


def unchanged(path: Path, size: int, expected: str) -> bool:
    """Whether a file has this size in bytes and this digest; '' means that the digest is not known.

    Raises:
        FileNotFoundError: there is no such file.
    """
    return os.stat(path).st_size == size and (not expected or cached_digest(path) == expected)
