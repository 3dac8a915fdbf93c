"""Stop requests: a file that the processes of a run look for and, in an object store, also an object."""

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
_ASK_EVERY_S = 5.0  # between two requests for the object; the file is checked at every call
_UNWANTED_S = 60.0  # without a call, requests for the object end


def tidy_stops(store: Store) -> None:
    """Delete the objects that dead drivers left in an object store.

    Files of a store that is a folder are deleted with other temporary files.
    """
    if not store.remote:
        return
    from ssl_sweep.sweep.store.object_records import ObjectStorage

    assert isinstance(store.storage, ObjectStorage)
    for key, meta in store.storage.listing(_FOLDER).items():
        if left_behind(key.rpartition("/")[2], partial(_age_s, meta.modified)):
            store.storage.delete(key)


def _age_s(modified: float) -> float:
    """Age in seconds. The two clocks may differ, but it is only compared with a day."""
    return time.time() - modified


class StopFlag:
    """The stop request of one run, as each of its processes sees it."""

    def __init__(self, store: Store, file: Path) -> None:
        """``file`` is in the store's folder. Other nodes see it unless the store is an object store."""
        self._store, self._file = store, file
        self._raised, self._wanted = False, 0.0
        self._asking: threading.Thread | None = None

    @property
    def _key(self) -> str:
        return f"{_FOLDER}/{self._file.name}"

    def put_up(self) -> None:
        """Request a stop. Returns at once, because signal handlers call it."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.touch()
        if self._store.remote:
            arguments = (self._key, b"stop")
            threading.Thread(target=self._store.storage.put, args=arguments, daemon=True).start()

    def take_down(self) -> None:
        """Remove the request at the end of the run."""
        self._wanted = 0.0
        if self._file.exists():
            self._file.unlink()
            if self._store.remote:
                self._store.storage.delete(self._key)

    def is_up(self) -> bool:
        """Whether a stop was requested, as far as this process knows.

        It does not wait for an object store; one that does not answer counts as no request.
        """
        if self._file.exists():
            return True
        if self._store.remote:
            self._wanted = time.monotonic()
            if self._asking is None or not self._asking.is_alive():
                self._asking = threading.Thread(target=self._ask, name="stop flag", daemon=True)
                self._asking.start()
        return self._raised

    def _ask(self) -> None:
        """Look for the object until ``is_up`` has not been called for a minute."""
        while time.monotonic() - self._wanted < _UNWANTED_S:
            self._raised = self._store.there(self._key)
            time.sleep(_ASK_EVERY_S)
