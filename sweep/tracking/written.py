"""Which runs a tracker is known to hold, noted in the store: so that a run that adds nothing need not ask the
tracker, and two writers know of each other's runs.

A writer notes that it is writing, and in the end what is there by then. Notes that were left at the first
say nothing certain: the tracker itself is asked. `sync` always asks it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from ssl_sweep.sweep.errors import masked
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.tracking.location import tracking_uri


@dataclass(frozen=True)
class Noted:
    """`ids` of runs that were there; not `certain` where a writer was lost since."""

    ids: frozenset[str]
    certain: bool


class Notes:
    """Of one sweep on one tracker."""

    def __init__(self, store: Store, uri: str | None, sweep: str) -> None:
        self._storage, self._address = store.storage, tracking_uri(store, uri)
        # The masked address: a hash of a short password could be guessed.
        self.name = hashlib.sha256(f"{masked(self._address)} {sweep}".encode()).hexdigest()[:16]
        self._key = f"mlflow/mirrored-{self.name}.json"

    def read(self) -> Noted:
        """Nothing is known of a tracker that has no notes, or whose database file is gone."""
        database = Path(self._address.removeprefix("sqlite:///"))
        if self._address.startswith("sqlite:///") and not database.exists():
            return Noted(frozenset(), True)
        record = self._storage.read(self._key)
        try:
            found = json.loads(record.data) if record else {"ids": []}
            return Noted(frozenset(found["ids"]), not found.get("writing", False))
        except (ValueError, TypeError, KeyError):
            return Noted(frozenset(), False)

    def writing(self, ids: frozenset[str]) -> None:
        """From now on the tracker may hold more than these."""
        self._put(ids, writing=True)

    def written(self, ids: frozenset[str]) -> None:
        """The tracker holds these, and no half-written run."""
        self._put(ids, writing=False)

    def _put(self, ids: frozenset[str], writing: bool) -> None:
        self._storage.put(self._key, json.dumps({"writing": writing, "ids": sorted(ids)}).encode())
