"""Where the files of stages are: the store's own folder, or an object store behind a folder of this node.

A name is a path relative to the root of the store. Stages write under `root` and read under `root`; a shelf
puts in safety what was written, and brings what is to be read.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ssl_sweep.sweep.errors import DamagedError, StoreError
from ssl_sweep.sweep.spec.specs import Stage
from ssl_sweep.sweep.store.mounted import Presence
from ssl_sweep.sweep.util.checksums import digest, unchanged


@dataclass(frozen=True)
class Kept:
    """A file in safety."""

    size: int
    sha256: str


class Shelf(Protocol):
    """The files of a store."""

    remote: bool

    def survey(self) -> AbstractContextManager[None]:
        """Inside the block the store is as it was seen at its beginning, in one look, where looking at each
        thing would take a request of its own."""

    def ids(self, stage: Stage) -> list[str]:
        """Every id of a stage of which there is anything, sorted."""

    def read(self, name: str) -> bytes | None:
        """A small file that is written once, None where there is none."""

    def size(self, name: str) -> int | None:
        """Bytes of a file, None where there is none."""

    def keep(self, name: str) -> Kept:
        """Put the file that was written under `root` in safety. FileNotFoundError where there is none."""

    def bring(self, name: str, size: int, sha256: str) -> None:
        """Afterwards the file is under `root` as it was committed; DamagedError where it cannot be."""

    def fault(self, name: str, size: int, sha256: str) -> str:
        """What is wrong with a committed file, every byte of it read; '' for nothing."""

    def share(self, name: str) -> None:
        """Let other nodes see a file as it is now; nothing where it was not written."""

    def newest(self, name: str, exactly: bool = False) -> Path | None:
        """The file as it was shared last, by whatever node; where it was this one, as it is now, unless it is
        to be `exactly` what other nodes see. None where there is none."""

    def drop(self, name: str) -> None:
        """Delete a file, here and for others."""

    def there(self, name: str) -> bool:
        """Whether there is a file, asked once: False also where a server does not answer."""

    def forget(self, name: str) -> None:
        """The record of this name was changed by this process."""


class LocalShelf:
    """The files are under `root`, for good."""

    remote = False

    def __init__(self, root: Path, presence: Presence | None = None) -> None:
        self._root, self._presence = root, presence or Presence(root)

    def survey(self) -> AbstractContextManager[None]:
        return nullcontext()  # a look at a file costs microseconds

    def ids(self, stage: Stage) -> list[str]:
        try:
            with os.scandir(self._root / stage) as entries:
                return sorted(entry.name for entry in entries)
        except FileNotFoundError:
            self._presence.require()
            return []
        except OSError as error:
            raise StoreError(f"store: {stage}/ cannot be listed: {error.strerror}") from error

    def read(self, name: str) -> bytes | None:
        try:
            with open(f"{self._root}/{name}", "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            self._presence.require()
            return None
        except OSError as error:
            raise StoreError(f"store: {name} cannot be read: {error.strerror}") from error

    def size(self, name: str) -> int | None:
        try:
            return os.stat(f"{self._root}/{name}").st_size
        except OSError:
            self._presence.require()
            return None

    def keep(self, name: str) -> Kept:
        self._presence.require()
        descriptor = os.open(self._root / name, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            return Kept(os.fstat(descriptor).st_size, digest(self._root / name))
        finally:
            os.close(descriptor)

    def bring(self, name: str, size: int, sha256: str) -> None:
        try:
            if not unchanged(self._root / name, size, sha256):
                raise damaged(name, "is not the file that was committed")
        except FileNotFoundError:
            self._presence.require()
            raise damaged(name, GONE) from None

    def fault(self, name: str, size: int, sha256: str) -> str:
        try:
            found = Kept((self._root / name).stat().st_size, digest(self._root / name) if sha256 else "")
        except (FileNotFoundError, NotADirectoryError):
            return GONE
        except OSError as error:  # a folder in its place, no permission, a broken disk
            return f"cannot be read: {error.strerror}"
        return fault_of(found, size, sha256)

    def share(self, name: str) -> None:
        """Every node mounts the folder."""

    def newest(self, name: str, exactly: bool = False) -> Path | None:
        path = self._root / name
        return path if path.exists() else None

    def drop(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)

    def there(self, name: str) -> bool:
        return (self._root / name).exists()

    def forget(self, name: str) -> None:
        """Nothing is remembered."""


GONE = "is gone"


def fault_of(found: Kept, size: int, sha256: str) -> str:
    """How a file differs from the one that was committed; '' where it does not."""
    if found.size != size:
        return f"has {found.size:,} bytes, {size:,} were committed"
    return "holds other bytes than were committed" if found.sha256 != sha256 else ""


def damaged(name: str, what: str) -> DamagedError:
    """The error that names a file."""
    return DamagedError(
        f"the store is damaged: {name} {what}",
        hint="`ssl-sweep verify --repair` withdraws damaged stages; the next run does them again",
    )
