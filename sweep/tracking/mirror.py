"""Writing to the tracker what the store holds, beside the sweep: a tracker that fails never fails a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from ssl_sweep.sweep.errors import DamagedError, SweepError, first_line, masked
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.store.leases import Leases, driving
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.tracking.location import TrackerError, open_tracker, tracking_uri
from ssl_sweep.sweep.tracking.mlflow_client import Tracker
from ssl_sweep.sweep.tracking.runs import Mirrored
from ssl_sweep.sweep.tracking.written import Noted, Notes

LEASE = "mirror"
"""What a writer holds while it writes: one at a time, of all drivers of a store."""
_EVERY_S = 3.0
_AT_MOST_EVERY_S = 60.0  # a tracker that fails is asked again after 3, 6, 12, … s
_TURN_S = 10.0  # another writer waits at most this long for its turn, and for one run's artifacts
_NOT_OURS_S = 0.5
_GIVE_UP_S = 30.0  # after the last stage, of a tracker that failed last time it was asked


class Writer:
    """Writes the runs of finished stages, each once, whoever else writes or was killed while writing."""

    def __init__(self, plan: Plan, store: Store, uri: str | None, models: bool, leases: Leases) -> None:
        self.mirrored = Mirrored(plan, store, models)
        self._store, self._uri, self._sweep, self._leases = store, uri, plan.sweep, leases
        self._notes = Notes(store, uri, plan.sweep)
        self._tracker: Tracker | None = None
        self.written = 0
        self.given_up = False
        """Stop after the present stage."""
        self.damaged: DamagedError | None = None
        """The first stage that cannot be logged as it is; the others are."""

    def lacking(self, stages: Iterable[PlannedStage]) -> list[PlannedStage]:
        """Those of which a run is not known to be written. The notes of a lost writer still tell the least
        that there is."""
        ids = self._notes.read().ids
        return [stage for stage in stages if not ids.issuperset(self.mirrored.ids(stage))]

    def write(self, stages: Sequence[PlannedStage], seconds: float, ask: bool = False) -> list[PlannedStage]:
        """Write the runs of ``nodes`` for some seconds; those done with, none where it was not our turn.

        With ``ask``, the tracker is asked what it holds, whatever was noted. Whatever MLflow raises goes
        through; the next call then looks at the tracker anew, where a run may be half written.
        """
        if self.given_up or not self._leases.take(LEASE, self._notes.name):
            return []
        try:
            return self._write(stages, time.monotonic() + seconds, ask)
        finally:
            self._leases.release(LEASE, self._notes.name)

    def give_up(self) -> None:
        """For another thread, while this one writes: no other driver may write before it has ended."""
        self.given_up = True
        self._leases.leave(LEASE, self._notes.name)

    def _write(self, stages: Sequence[PlannedStage], end: float, ask: bool) -> list[PlannedStage]:
        noted = self._notes.read()
        tracker, self._tracker = self._tracker, None  # ours again when all went well
        if ask or tracker is None or not noted.certain:
            tracker = open_tracker(self._store, self._uri, self._sweep)
            noted = Noted(tracker.existing(), True)
        self._notes.writing(noted.ids)
        through = []
        for stage in stages:
            try:
                self.written += tracker.log(self.mirrored.runs(stage, noted.ids))
            except DamagedError as error:
                self.damaged = self.damaged or error
            through.append(stage)
            if time.monotonic() > end or self.given_up:
                break
        self._notes.written(noted.ids | tracker.existing())
        self._tracker = tracker
        return through


class Mirror:
    """One background writer for one run of a sweep; `sync` or the next run writes what it could not."""

    def __init__(self, plan: Plan, store: Store, uri: str | None, models: bool, leases: Leases) -> None:
        self._writer = Writer(plan, store, uri, models, leases)
        self._address = masked(tracking_uri(store, uri))
        self._nodes = {stage.id: stage for stage in self._writer.mirrored.stages}
        self._todo = {stage.id for stage in self._nodes.values() if stage.state == "complete"}
        self._over, self._error = threading.Event(), ""
        self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finished(self, stage: PlannedStage) -> None:
        """Told of every stage that is finished, by whomever."""
        if stage.id in self._nodes:
            self._todo.add(stage.id)

    def finish(self, at_most: float = float("inf")) -> str:
        """Write what is left, for `at_most` seconds and while the tracker takes it; why it lacks something,
        or '' where all is written."""
        if self._thread.ident is None:
            self._thread.start()
        self._over.set()
        end = time.monotonic() + at_most
        written, since = -1, time.monotonic()
        while self._thread.is_alive() and time.monotonic() < end:
            self._thread.join(0.1)
            if self._writer.written != written:
                written, since = self._writer.written, time.monotonic()
            elif time.monotonic() - since > (_GIVE_UP_S if self._error else 4 * _GIVE_UP_S):
                break
        if self._thread.is_alive():
            self._writer.give_up()
        if not self._todo and not self._error:
            return str(self._writer.damaged or "")
        why = self._error or "it takes too long"
        return f"{len(self._todo):,} finished stages are not yet at {self._address}: {why}"

    def _work(self) -> None:
        pause = _EVERY_S
        while True:
            over = self._over.wait(pause)
            try:
                self._write()
                self._error, pause = "", _EVERY_S
            except Exception as error:  # MLflow raises its own, its database's and its HTTP client's errors
                self._error, pause = masked(first_line(error)), min(2 * pause, _AT_MOST_EVERY_S)
            if self._writer.given_up or (over and (self._error or not self._todo)):
                return

    def _write(self) -> None:
        """What is finished by now, as far as it goes in one turn."""
        todo = [stage for stage in self._nodes.values() if stage.id in self._todo]
        if not todo:
            return
        lacking = self._writer.lacking(todo)
        through = self._writer.write(lacking, _TURN_S) if lacking else todo
        if not through:
            time.sleep(_NOT_OURS_S)  # another driver writes
        there = {stage.id for stage in todo} - {stage.id for stage in lacking}
        self._todo -= there | {stage.id for stage in through}


def sync_grid(grid: Path, overrides: Sequence[str], store_uri: str, uri: str | None) -> int:
    """Write to the tracker whatever the store holds and the tracker lacks; the number of runs written.

    Raises:
        TrackerError: the tracker does not take it.
        DamagedError: a training's files are damaged; all else is written.
    """
    from ssl_sweep.sweep.planning.planner import plan_grid

    store = Store(store_uri)
    store.require_existing()
    read, plan = plan_grid(grid, overrides, store)
    try:
        with driving(store.storage) as leases:
            writer = Writer(plan, store, uri, read.compute.log_models, leases)
            left, ask = list(writer.mirrored.stages), True
            while left:
                through = writer.write(left, _TURN_S, ask)
                ask = ask and not through
                left = [stage for stage in left if stage not in through]
                if not through:
                    time.sleep(_NOT_OURS_S)  # a driver writes; what it writes is passed over
            if writer.damaged is not None:
                raise writer.damaged
            return writer.written
    except SweepError:
        raise
    except Exception as error:  # MLflow raises its own, its database's and its HTTP client's errors
        raise TrackerError(
            masked(f"the tracker at {tracking_uri(store, uri)} failed: {first_line(error)}"),
            hint="check that the server runs and the address is right; results are safe in the store",
        ) from error
