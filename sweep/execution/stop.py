"""The wish to stop a run: a file that its processes look for and, on an object store, an object as well."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_sweep.sweep.util.files import left_behind

if TYPE_CHECKING:
    from ssl_sweep.sweep.store.store import Store

_FOLDER = "stop"
_ASK_EVERY_S = 5.0  # the object; the file is looked for at every call
_UNWANTED_S = 60.0


def tidy_stops(store: Store) -> None:
    """Take away the objects that drivers which are no more left in an object store; files beside them are
    temporary ones, and put away as such."""
    if not store.remote:
        return
    from ssl_sweep.sweep.store.object_records import ObjectStorage

    assert isinstance(store.storage, ObjectStorage)
    for key, meta in store.storage.listing(_FOLDER).items():
        if left_behind(key.rpartition("/")[2], partial(_age_s, meta.modified)):
            store.storage.delete(key)


def _age_s(modified: float) -> float:
    """By two clocks; it is compared with a day."""
    return time.time() - modified


class StopFlag:
    """Of one run, in every process of it: `file` is in the store's folder, where other nodes see it too
    unless the store is an object store."""

    def __init__(self, store: Store, file: Path) -> None:
        self._store, self._file = store, file
        self._raised, self._wanted = False, 0.0
        self._asking: threading.Thread | None = None

    @property
    def _key(self) -> str:
        return f"{_FOLDER}/{self._file.name}"

    def put_up(self) -> None:
        """Ask to stop. Returns at once: signal handlers call it."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.touch()
        if self._store.remote:
            arguments = (self._key, b"stop")
            threading.Thread(target=self._store.storage.put, args=arguments, daemon=True).start()

    def take_down(self) -> None:
        """At the end of the run."""
        self._wanted = 0.0
        if self._file.exists():
            self._file.unlink()
            if self._store.remote:
                self._store.storage.delete(self._key)

    def is_up(self) -> bool:
        """Whether the run was asked to stop, as far as is known: nobody waits for an object store here, and
        one that does not answer has not said so."""
        if self._file.exists():
            return True
        if self._store.remote:
            self._wanted = time.monotonic()
            if self._asking is None or not self._asking.is_alive():
                self._asking = threading.Thread(target=self._ask, name="stop flag", daemon=True)
                self._asking.start()
        return self._raised

    def _ask(self) -> None:
        """For as long as somebody wants to know."""
        while time.monotonic() - self._wanted < _UNWANTED_S:
            self._raised = self._store.there(self._key)
            time.sleep(_ASK_EVERY_S)
