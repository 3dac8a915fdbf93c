"""Small records by key, with the few atomic operations that the store and its leases need.

A key is a relative path with ``/`` between its parts. Nothing in this module knows what a stage is.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.store.mounted import MountedFolder
from ssl_sweep.sweep.util.files import appear, remove_abandoned, temporary, token_holder, token_of


@dataclass(frozen=True)
class Record:
    """The content of a key."""

    data: bytes
    version: str
    """Identifies this content; ``Storage.swap`` replaces it only if it is still current."""


def checked(key: str) -> str:
    """Returns the key. Raises StoreError if it leads out of the store or is not a plain path."""
    if (
        key.startswith(("/", "~"))
        or "\\" in key
        or "\0" in key
        or not {"", ".", ".."}.isdisjoint(key.split("/"))
    ):
        raise StoreError(f"the key {key!r} leaves the store")
    return key


class Storage(Protocol):
    """A set of records. For readers on any host, each operation happens completely or not at all."""

    def read(self, key: str) -> Record | None:
        """The record under ``key``; None if there is no such record."""

    def create(self, key: str, data: bytes) -> bool:
        """Write a new record durably. If two writers try, exactly one gets True.

        Args:
            data: at least one byte.
        """

    def put(self, key: str, data: bytes) -> None:
        """Write a record, and replace an existing one."""

    def swap(self, key: str, version: str, data: bytes | None) -> bool:
        """Replace the record by ``data``, or delete it (None), if it still has this ``version``.

        Returns:
            False if the record has changed, which leaves it as it is. If two swaps have the same version, at
            most one returns True.
        """

    def delete(self, key: str) -> None:
        """Delete a record if it exists."""

    def names(self, folder: str) -> list[str]:
        """The sorted names of the records and folders directly under a folder, without temporary files."""

    def unsynced(self) -> Storage:
        """The same records for writers that do not wait for the disk; a power cut may lose or empty these."""


class LocalStorage:
    """Records as files under ``root``, on a local or a shared POSIX file system."""

    def __init__(self, root: Path, folder: MountedFolder | None = None, *, synced: bool = True) -> None:
        self.root, self._folder, self._synced = root, folder or MountedFolder(root), synced

    def unsynced(self) -> LocalStorage:
        return LocalStorage(self.root, self._folder, synced=False)

    def read(self, key: str) -> Record | None:
        try:
            data = self._path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            self._folder.require()
            return None
        return Record(data, _version(data))

    def create(self, key: str, data: bytes) -> bool:
        final = self._path(key)
        if not self._exclusively(final, data):
            return False
        self._sync_folder(final.parent)
        return True

    def _exclusively(self, final: Path, data: bytes) -> bool:
        """Write a new file; False if it exists."""
        return appear(self._written(final, data), final)

    def put(self, key: str, data: bytes) -> None:
        final = self._path(key)
        partial = self._written(final, data)
        try:
            partial.replace(final)
        finally:
            partial.unlink(missing_ok=True)

    def swap(self, key: str, version: str, data: bytes | None) -> bool:
        """Only the holder of a version's token may replace that version. The record exists all the while."""
        final = self._path(key)
        token = token_of(final, version)
        if not self._is(final, version) or not self._take(token):
            return False
        try:
            if not self._is(final, version):  # swapped before this process had the token
                return False
            if data is None:
                final.unlink()
            else:
                self.put(key, data)
            self._sync_folder(final.parent)
        finally:
            token.unlink(missing_ok=True)
        return True

    @staticmethod
    def _is(final: Path, version: str) -> bool:
        try:
            return _version(final.read_bytes()) == version
        except FileNotFoundError:
            return False

    def _take(self, token: Path) -> bool:
        """Try to take a token; removes one whose writer died, so that the next attempt succeeds."""
        if self._exclusively(token, token_holder()):
            return True
        remove_abandoned(token.parent)
        return False

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def names(self, folder: str) -> list[str]:
        try:
            with os.scandir(self._path(folder)) as entries:
                return sorted(entry.name for entry in entries if not entry.name.endswith(".tmp"))
        except (FileNotFoundError, NotADirectoryError):
            self._folder.require()
            return []

    def _path(self, key: str) -> Path:
        return self.root / checked(key)

    def _written(self, final: Path, data: bytes) -> Path:
        """Write ``data`` under a temporary name beside ``final``, and return that name."""
        self._folder.require()
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = temporary(final.parent, final.name)
        try:
            with open(partial, "wb") as file:
                file.write(data)
                file.flush()
                if self._synced:
                    os.fsync(file.fileno())
        except OSError as error:  # on a full disk, heartbeats would leave one every few seconds
            partial.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(final)) from error
        return partial

    def _sync_folder(self, folder: Path) -> None:
        if not self._synced:
            return
        directory = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
