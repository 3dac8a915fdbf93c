"""The wish to stop a run: a file that its processes look for and, on an object store, an object as well."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweep.store import Store

_ASK_EVERY_S = 5.0  # the object; the file is looked for at every call


class StopFlag:
    """Of one run, in every process of it: `file` is in the store's folder, where other nodes see it too
    unless the store is an object store."""

    def __init__(self, store: Store, file: Path) -> None:
        self._store, self._file = store, file
        self._asked_at, self._raised = -_ASK_EVERY_S, False

    @property
    def _key(self) -> str:
        return f"stop/{self._file.name}"

    def put_up(self) -> None:
        """Ask to stop. Returns at once: signal handlers call it."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.touch()
        if self._store.remote:
            arguments = (self._key, b"stop")
            threading.Thread(target=self._store.storage.put, args=arguments, daemon=True).start()

    def take_down(self) -> None:
        """At the end of the run."""
        if self._file.exists():
            self._file.unlink()
            if self._store.remote:
                self._store.storage.delete(self._key)

    def is_up(self) -> bool:
        """Whether the run was asked to stop; a store that does not answer has not said so."""
        if self._file.exists():
            return True
        now = time.monotonic()
        if self._store.remote and now - self._asked_at > _ASK_EVERY_S:
            self._asked_at, self._raised = now, self._store.there(self._key)
        return self._raised
