"""The files of stages: in the store's own folder, or in an object store with a cache folder on this node.

A name is a path relative to the store's root. Stages read and write under ``root``; these classes save what a
stage wrote and fetch what it reads.
"""

from __future__ import annotations

import os
import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ssl_sweep.sweep.errors import DamagedError, StoreError
from ssl_sweep.sweep.spec.specs import Stage
from ssl_sweep.sweep.store.mounted import MountedFolder
from ssl_sweep.sweep.util.files import digest, unchanged, whole


@dataclass(frozen=True)
class SavedFile:
    """Size in bytes and digest of a file that the store has saved."""

    size: int
    sha256: str


class Files(Protocol):
    """The files of a store."""

    remote: bool
    """Whether the files are in an object store."""

    def survey(self) -> AbstractContextManager[None]:
        """Inside the block, answer from one listing of an object store, made at the start."""

    def ids(self, stage: Stage) -> list[str]:
        """Every id of a stage that has any file, sorted."""

    def read(self, name: str) -> bytes | None:
        """A small file that is written once; None if there is no such file."""

    def size(self, name: str) -> int | None:
        """Size of a file in bytes; None if there is no such file."""

    def save(self, name: str) -> SavedFile:
        """Save the file that was written under ``root``. Raises FileNotFoundError if there is no such
        file."""

    def fetch(self, name: str, size: int, sha256: str) -> None:
        """Put the file under ``root`` as it was committed. Raises DamagedError if that is impossible."""

    def fault(self, name: str, size: int, sha256: str) -> str:
        """Read a committed file completely and say what is wrong with it; '' if it is sound."""

    def share(self, name: str) -> None:
        """Let other nodes see the current state of a file, if it exists."""

    def newest(self, name: str, exactly: bool = False) -> Path | None:
        """The file as a node shared it last; None if there is no such file.

        A file that this node shared last and has changed since is returned as it is now, unless ``exactly``
        asks for the state that other nodes see.
        """

    def copy(self, name: str, other: str) -> bool:
        """Give a file a second name. False if there is no such file."""

    def drop(self, name: str) -> None:
        """Delete a file, here and for other nodes."""

    def there(self, name: str) -> bool:
        """Whether a file exists, with a single request; also False if the server does not answer."""

    def forget(self, name: str) -> None:
        """Forget what was remembered about a name: this process has changed its record."""


class LocalFiles:
    """The files are under ``root`` for good."""

    remote = False

    def __init__(self, root: Path, folder: MountedFolder | None = None) -> None:
        self._root, self._folder = root, folder or MountedFolder(root)

    def survey(self) -> AbstractContextManager[None]:
        return nullcontext()  # looking at a file takes microseconds

    def ids(self, stage: Stage) -> list[str]:
        try:
            with os.scandir(self._root / stage) as entries:
                return sorted(entry.name for entry in entries)
        except FileNotFoundError:
            self._folder.require()
            return []
        except OSError as error:
            raise StoreError(f"store: {stage}/ cannot be listed: {error.strerror}") from error

    def read(self, name: str) -> bytes | None:
        try:
            with open(f"{self._root}/{name}", "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            self._folder.require()
            return None
        except OSError as error:
            raise StoreError(f"store: {name} cannot be read: {error.strerror}") from error

    def size(self, name: str) -> int | None:
        try:
            return os.stat(f"{self._root}/{name}").st_size
        except OSError:
            self._folder.require()
            return None

    def save(self, name: str) -> SavedFile:
        self._folder.require()
        descriptor = os.open(self._root / name, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            return SavedFile(os.fstat(descriptor).st_size, digest(self._root / name))
        finally:
            os.close(descriptor)

    def fetch(self, name: str, size: int, sha256: str) -> None:
        try:
            if not unchanged(self._root / name, size, sha256):
                raise damaged(name, "is not the file that was committed")
        except FileNotFoundError:
            self._folder.require()
            raise damaged(name, GONE) from None

    def fault(self, name: str, size: int, sha256: str) -> str:
        path = self._root / name
        try:
            found = SavedFile(path.stat().st_size, digest(path) if sha256 else "")
        except (FileNotFoundError, NotADirectoryError):
            return GONE
        except OSError as error:  # a folder in its place, no permission, a broken disk
            return f"cannot be read: {error.strerror}"
        return fault_of(found, size, sha256)

    def share(self, name: str) -> None:
        """Nothing to do: every node mounts the folder."""

    def newest(self, name: str, exactly: bool = False) -> Path | None:
        path = self._root / name
        return path if path.exists() else None

    def copy(self, name: str, other: str) -> bool:
        path, copied = self._root / name, self._root / other
        if not path.exists():
            return False
        copied.parent.mkdir(parents=True, exist_ok=True)
        with whole(copied) as partial:
            try:
                os.link(path, partial)
            except OSError:  # the file system has no hard links
                shutil.copy2(path, partial)
        return True

    def drop(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)

    def there(self, name: str) -> bool:
        return (self._root / name).exists()

    def forget(self, name: str) -> None:
        """Nothing is remembered."""


GONE = "is gone"


def fault_of(found: SavedFile, size: int, sha256: str) -> str:
    """How a file differs from the committed one; '' if it does not."""
    if found.size != size:
        return f"has {found.size:,} bytes, but {size:,} were committed"
    return "differs from what was committed" if found.sha256 != sha256 else ""


def damaged(name: str, what: str) -> DamagedError:
    """An error that says what is wrong with the file ``name``."""
    return DamagedError(
        f"the store is damaged: {name} {what}",
        hint="run `ssl-sweep verify --repair` to withdraw damaged stages; the next run performs them again",
    )
