"""Small records by key, with the few atomic operations that the store and its leases are built on.

A key is a relative path with `/` between its parts. Nothing here knows what a stage is.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.store.mounted import Presence
from ssl_sweep.sweep.util.files import mark, remove_abandoned, temporary, token_of


@dataclass(frozen=True)
class Record:
    """What stands under a key, and the version to name when one wants to replace just that."""

    data: bytes
    version: str


def checked(key: str) -> str:
    """The key itself. StoreError where it leads out of the store, or is no plain path."""
    if (
        key.startswith(("/", "~"))
        or "\\" in key
        or "\0" in key
        or not {"", ".", ".."}.isdisjoint(key.split("/"))
    ):
        raise StoreError(f"the key {key!r} leaves the store")
    return key


class Storage(Protocol):
    """Where records live. Every operation either happens whole or not at all, for readers of any host."""

    def read(self, key: str) -> Record | None:
        """The record under `key`, None where there is none."""

    def create(self, key: str, data: bytes) -> bool:
        """Write a record that was not there, durably; of two writers exactly one gets True. No record is
        empty."""

    def put(self, key: str, data: bytes) -> None:
        """Write a record, in place of another where there is one."""

    def swap(self, key: str, version: str, data: bytes | None) -> bool:
        """Replace the record of this `version` by `data`, or delete it (None); False where another stands
        there by now, which is then left as it is. Of two swaps of one version at most one gets True."""

    def delete(self, key: str) -> None:
        """Take a record away, if there is one."""

    def names(self, folder: str) -> list[str]:
        """The names directly under a folder, sorted: records and folders, no temporary files."""

    def passing(self) -> Storage:
        """The same records for writers that do not wait for the disk: a power cut may lose or empty them."""


class LocalStorage:
    """Records as files under `root`, on a local or a shared POSIX file system."""

    def __init__(self, root: Path, presence: Presence | None = None, *, waits: bool = True) -> None:
        self.root, self._presence, self._waits = root, presence or Presence(root), waits

    def passing(self) -> LocalStorage:
        return LocalStorage(self.root, self._presence, waits=False)

    def read(self, key: str) -> Record | None:
        try:
            data = self._path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            self._presence.require()
            return None
        return Record(data, _version(data))

    def create(self, key: str, data: bytes) -> bool:
        final = self._path(key)
        if not self._exclusively(final, data):
            return False
        self._sync_folder(final.parent)
        return True

    def _exclusively(self, final: Path, data: bytes) -> bool:
        """link() is atomic and, unlike rename(), refuses to replace."""
        partial = self._written(final, data)
        try:
            os.link(partial, final)
        except FileExistsError:
            return False
        finally:
            partial.unlink(missing_ok=True)
        return True

    def put(self, key: str, data: bytes) -> None:
        final = self._path(key)
        partial = self._written(final, data)
        try:
            partial.replace(final)
        finally:
            partial.unlink(missing_ok=True)

    def swap(self, key: str, version: str, data: bytes | None) -> bool:
        """Only who has the token of a version may replace it, and the record is never away meanwhile."""
        final = self._path(key)
        token = token_of(final, version)
        if not self._is(final, version) or not self._take(token):
            return False
        try:
            if not self._is(final, version):  # swapped before the token was ours
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
        """A token whose writer died is taken away, for the next who tries."""
        if self._exclusively(token, mark()):
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
            self._presence.require()
            return []

    def _path(self, key: str) -> Path:
        return self.root / checked(key)

    def _written(self, final: Path, data: bytes) -> Path:
        """`data` on disk under a temporary name beside `final`."""
        self._presence.require()
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = temporary(final.parent, final.name)
        try:
            with open(partial, "wb") as file:
                file.write(data)
                file.flush()
                if self._waits:
                    os.fsync(file.fileno())
        except OSError as error:  # on a full disk heartbeats would leave one every few seconds
            partial.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(final)) from error
        return partial

    def _sync_folder(self, folder: Path) -> None:
        if not self._waits:
            return
        directory = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
