"""The plain files of a tar, from their headers. Nothing is extracted, so no member can write anywhere."""

from __future__ import annotations

import dataclasses
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.sources.listing import printable

_BLOCK = 512  # bytes: tar's unit
_CHUNK = 1 << 20  # bytes: a multiple of _BLOCK


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """A plain file in a tar."""

    name: str
    offset: int
    """Where its bytes begin in the tar."""
    size: int
    archive: int
    """Which of several joined archives it is in; 0 for the first."""

    @property
    def base(self) -> str:
        """Its name without folders."""
        return self.name.rpartition("/")[2]


def members_of(path: Path) -> list[Member]:
    """The plain files of a tar, or of several that were joined with ``cat``.

    Raises:
        DataError: The tar is broken or cut short, or a member is a link or points outside.
    """
    found = []
    try:
        with path.open("rb") as file:
            for archive, members in enumerate(_archives(path, file)):
                for member in members:
                    _check(path, member)
                    if member.isreg():
                        found.append(Member(member.name, member.offset_data, member.size, archive))
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise DataError(
            f"{path}: not a readable, uncompressed tar ({error}); write the shard again"
        ) from error
    return found


def _archives(path: Path, file: BinaryIO) -> Iterator[list[tarfile.TarInfo]]:
    start: int | None = 0
    while start is not None:
        file.seek(start)
        with tarfile.open(fileobj=file, mode="r:", errors="surrogateescape") as tar:
            members = tar.getmembers()
        if start and not members:
            raise tarfile.ReadError("what follows the end of the archive is not a tar")
        # tarfile accepts a shard that ends anywhere; a complete one ends with blocks of zeros
        end = max((m.offset_data + -(-m.size // _BLOCK) * _BLOCK for m in members), default=start)
        if os.pread(file.fileno(), _BLOCK, end) != bytes(_BLOCK):
            raise DataError(f"{path}: the shard is cut short; write or download it again")
        yield members
        start = _after_zeros(file, end)


def _after_zeros(file: BinaryIO, start: int) -> int | None:
    """The first block from ``start`` that is not of zeros; None without one."""
    while chunk := os.pread(file.fileno(), _CHUNK, start):
        if chunk.strip(b"\0"):
            return start + (len(chunk) - len(chunk.lstrip(b"\0"))) // _BLOCK * _BLOCK
        start += len(chunk)
    return None


def _check(path: Path, member: tarfile.TarInfo) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise DataError(
            f"{path}: member {printable(member.name)!r} points outside the shard; do not trust the file"
        )
    if member.issparse() or not (member.isreg() or member.isdir()):
        raise DataError(f"{path}: member {printable(member.name)!r} is a link or a device; write plain files")
