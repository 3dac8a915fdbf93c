"""Write runs to the tracker, each once, and note in the store which runs the tracker has.

With the notes, a run that adds nothing need not ask the tracker, and two writers know of each other's runs.
A writer first notes that it is writing, and at the end which runs are there. If it was killed in between, its
notes are not certain and the tracker is asked. ``sync`` always asks it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ssl_sweep.sweep.errors import DamagedError
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.store.leases import Leases
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.tracking.location import open_tracker, tracking_uri
from ssl_sweep.sweep.tracking.mlflow_client import Tracker
from ssl_sweep.sweep.tracking.names import sqlite_file
from ssl_sweep.sweep.tracking.runs import MirroredRuns
from ssl_sweep.sweep.util.addresses import masked

LEASE = "mirror"
"""A writer holds this lease while it writes, so that only one driver of a store writes at a time."""


@dataclass(frozen=True)
class Noted:
    """What the notes say about a tracker."""

    ids: frozenset[str]
    """Ids of runs that it had."""
    certain: bool
    """Whether it has exactly these; not if a writer was killed since."""


class Notes:
    """The notes on one sweep at one tracker, kept in the store."""

    def __init__(self, store: Store, uri: str | None, sweep: str) -> None:
        self._storage, self._address = store.storage, tracking_uri(store, uri)
        # Hash the masked address: a short password could be guessed from its hash.
        self.name = hashlib.sha256(f"{masked(self._address)} {sweep}".encode()).hexdigest()[:16]
        self._key = f"mlflow/mirrored-{self.name}.json"

    def read(self) -> Noted:
        """Read the notes; empty without notes, or if the database file of the tracker is gone."""
        database = sqlite_file(self._address)
        if database is not None and not database.exists():
            return Noted(frozenset(), True)
        record = self._storage.read(self._key)
        try:
            found = json.loads(record.data) if record else {"ids": []}
            return Noted(frozenset(found["ids"]), not found.get("writing", False))
        except (ValueError, TypeError, KeyError):
            return Noted(frozenset(), False)

    def writing(self, ids: frozenset[str]) -> None:
        """Note that the tracker has these runs, and may have more from now on."""
        self._put(ids, writing=True)

    def written(self, ids: frozenset[str]) -> None:
        """Note that the tracker has exactly these runs, and no half-written one."""
        self._put(ids, writing=False)

    def _put(self, ids: frozenset[str], writing: bool) -> None:
        self._storage.put(self._key, json.dumps({"writing": writing, "ids": sorted(ids)}).encode())


class Writer:
    """Writes the runs of finished stages, each once, even if others write too or were killed in between."""

    def __init__(self, plan: Plan, store: Store, uri: str | None, models: bool, leases: Leases) -> None:
        self.runs = MirroredRuns(plan, store, models)
        self._store, self._uri, self._sweep, self._leases = store, uri, plan.sweep, leases
        self._notes = Notes(store, uri, plan.sweep)
        self._tracker: Tracker | None = None
        self.written = 0
        self.given_up = False
        """Whether to stop after the current stage."""
        self.damaged: DamagedError | None = None
        """The first stage that cannot be logged because it is damaged; the others are still logged."""
        self.refused: dict[str, str] = {}
        """Id of each run or model that the tracker refused → its name, and why; the others are logged."""

    def lacking(self, stages: Iterable[PlannedStage]) -> list[PlannedStage]:
        """Return the stages with runs that may not be written yet.

        The notes of a writer that was killed still list runs that are certainly there.
        """
        ids = self._notes.read().ids
        return [stage for stage in stages if not ids.issuperset(self.runs.ids(stage))]

    def write(self, stages: Sequence[PlannedStage], seconds: float, ask: bool = False) -> list[PlannedStage]:
        """Write the runs of ``stages``, for about ``seconds``.

        If MLflow raises an error, so does this. A run may then be half written, so the next call reads again
        what the tracker has.

        Args:
            stages: Finished stages.
            seconds: When this time is over, the rest is left for the next call.
            ask: Read what the tracker has, even if the notes are certain.

        Returns:
            The stages that were written. Empty if another driver is writing.
        """
        if self.given_up or not self._leases.take(LEASE, self._notes.name):
            return []
        try:
            return self._write(stages, time.monotonic() + seconds, ask)
        finally:
            self._leases.release(LEASE, self._notes.name)

    def lost(self) -> str:
        """Say which runs the tracker will never have, although it has all others; "" if it has all."""
        if self.damaged is not None:
            return str(self.damaged)
        if not self.refused:
            return ""
        runs = "1 run or model" if len(self.refused) == 1 else f"{len(self.refused):,} runs and models"
        return f"MLflow refuses {runs}, and has all others. The first is {next(iter(self.refused.values()))}"

    def give_up(self) -> None:
        """Stop after the current stage. Another thread calls this while this writer is writing.

        The lease is kept, so that no other driver writes until this process has ended.
        """
        self.given_up = True
        self._leases.leave(LEASE, self._notes.name)

    def _write(self, stages: Sequence[PlannedStage], end: float, ask: bool) -> list[PlannedStage]:
        noted = self._notes.read()
        tracker, self._tracker = self._tracker, None  # kept for the next call if nothing fails
        if ask or tracker is None or not noted.certain:
            tracker = open_tracker(self._store, self._uri, self._sweep)
            noted = Noted(tracker.existing(), True)
        self._notes.writing(noted.ids)
        written = []
        for stage in stages:
            try:
                self.written += tracker.log(self.runs.runs(stage, noted.ids))
            except DamagedError as error:
                self.damaged = self.damaged or error
            written.append(stage)
            if time.monotonic() > end or self.given_up:
                break
        self.refused |= tracker.refused
        self._notes.written(noted.ids | tracker.existing())
        self._tracker = tracker
        return written
