"""Write what the store holds to the tracker, in the background. If the tracker fails, the run does not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ssl_sweep.sweep.errors import SweepError, first_line
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.notes import unprepared
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.planning.whereabouts import require_store
from ssl_sweep.sweep.store.leases import Leases, driving
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.tracking.location import TrackerError, tracking_uri
from ssl_sweep.sweep.tracking.writer import Writer
from ssl_sweep.sweep.util.addresses import masked

_EVERY_S = 3.0
_LONGEST_PAUSE_S = 60.0  # if the tracker fails, it is tried again after 6, 12, 24, … s
_TURN_S = 10.0  # then another writer gets its turn, once the artifacts of the current run are written
_BUSY_S = 0.5  # pause while another driver writes
_GIVE_UP_S = 30.0  # longest wait after the last stage for a tracker that failed last time


class Mirror:
    """The background writer of one run of a sweep. ``sync`` or the next run writes what it could not."""

    def __init__(self, plan: Plan, store: Store, uri: str | None, models: bool, leases: Leases) -> None:
        self._writer = Writer(plan, store, uri, models, leases)
        self._address = masked(tracking_uri(store, uri))
        self._stages = {stage.id: stage for stage in self._writer.runs.stages}
        self._to_write = {stage.id for stage in self._stages.values() if stage.state == "complete"}
        self._over, self._error = threading.Event(), ""
        self.final = False
        """Whether ``sync`` would write no more than this mirror did."""
        self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)

    def start(self) -> None:
        """Start writing in the background."""
        self._thread.start()

    def finished(self, stage: PlannedStage) -> None:
        """Write this stage too; call it for every stage that finishes, in any driver."""
        if stage.id in self._stages:
            self._to_write.add(stage.id)

    def finish(self, at_most: float = float("inf")) -> str:
        """Write what is left, for at most ``at_most`` seconds and as long as the tracker accepts it.

        Returns:
            Why the tracker lacks something, '' if everything is written.
        """
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
        if not self._to_write and not self._error:
            self.final = True
            return masked(self._writer.lost())
        why = self._error or "the tracker is too slow"
        return f"{len(self._to_write):,} finished stages are not yet at {self._address}: {why}"

    def _work(self) -> None:
        pause = _EVERY_S
        while True:
            over = self._over.wait(pause)
            try:
                self._write()
                self._error, pause = "", _EVERY_S
            except Exception as error:  # from MLflow, its database or its HTTP client
                hint = f"; {error.hint}" if isinstance(error, SweepError) and error.hint else ""
                self._error = masked(first_line(error)) + hint
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            if self._writer.given_up or (over and (self._error or not self._to_write)):
                return

    def _write(self) -> None:
        """Write the stages that are finished by now, as many as one turn allows."""
        finished = [stage for stage in self._stages.values() if stage.id in self._to_write]
        if not finished:
            return
        lacking = self._writer.lacking(finished)
        written = self._writer.write(lacking, _TURN_S) if lacking else finished
        if not written:
            time.sleep(_BUSY_S)  # another driver is writing
        there = {stage.id for stage in finished} - {stage.id for stage in lacking}
        self._to_write -= there | {stage.id for stage in written}


def sync_grid(
    grid: Path,
    overrides: Sequence[str],
    store_uri: str,
    uri: str | None,
    say: Callable[[str], None] = lambda text: None,
) -> int:
    """Write to the tracker everything that the store holds and the tracker lacks.

    Args:
        grid: The grid file.
        overrides: ``KEY=VALUE`` changes of the grid.
        store_uri: Where the results are.
        uri: Address of the tracker; None for the default one.
        say: Called with the reason if the store has results that do not count now, so that they are not
            written.

    Returns:
        The number of runs written.

    Raises:
        TrackerError: the tracker fails, or refuses some runs; everything else is written.
        DamagedError: the files of a training are damaged; everything else is written.
    """
    from ssl_sweep.sweep.planning.planner import plan_grid

    store = Store(store_uri)
    require_store(store, grid)
    read, plan = plan_grid(grid, overrides, store, expect=True)
    if why := unprepared(plan.prepares, plan.notes):
        say(why)
    try:
        with driving(store.storage) as leases:
            writer = Writer(plan, store, uri, read.compute.log_models, leases)
            left, ask = list(writer.runs.stages), True
            while left:
                written = writer.write(left, _TURN_S, ask)
                ask = ask and not written
                left = [stage for stage in left if stage not in written]
                if not written:
                    time.sleep(_BUSY_S)  # another driver is writing; its runs will be skipped
            if writer.damaged is not None:
                raise writer.damaged
            if writer.refused:
                raise TrackerError(masked(writer.lost()), hint="the store has all results")
            return writer.written
    except SweepError:
        raise
    except Exception as error:  # from MLflow, its database or its HTTP client
        raise TrackerError(
            masked(f"the tracker at {tracking_uri(store, uri)} failed: {first_line(error)}"),
            hint="the results are in the store; when the tracker works again, run this command again",
        ) from error
