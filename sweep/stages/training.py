"""One training, from its start or its checkpoint to its commit, in any process.

It is watched for hangs and logged. It stops if the run is asked to stop, or if another driver took the stage
over.
"""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ssl_sweep.ssl_core.training.reporter import EpochRecord, Reporter
from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.execution.backend import Outcome
from ssl_sweep.sweep.execution.failures import failure_of
from ssl_sweep.sweep.execution.runtime import Runtime, TrainPlan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.stages.context import StageInterrupted
from ssl_sweep.sweep.stages.perform import run_training
from ssl_sweep.sweep.stages.reporter import StageReporter
from ssl_sweep.sweep.stages.watchdog import Watchdog
from ssl_sweep.sweep.store.leases import held_by
from ssl_sweep.sweep.store.log import StageLog
from ssl_sweep.sweep.store.store import Store

_LEASE_CHECK_S = 10.0  # between two looks at the lease


def train(stage: PlannedStage, runtime: Runtime, plan: TrainPlan, rank: int = 0) -> Outcome:
    """Train and commit. If the stage fails, the outcome says so; nothing is raised."""
    store = runtime.open_store()
    log = StageLog(store.path(stage.kind, stage.id))
    if store.complete(stage.kind, stage.id):
        return Outcome(stage.id, "complete", executed=False)
    if runtime.stop_requested():
        return Outcome(stage.id, "interrupted")
    store.extra(
        stage.kind, stage.id, log.path.name
    )  # fetch an earlier attempt's log from another node: this attempt appends
    log.started(f"{stage.kind} {stage.id}" + (f" worker {rank}" if plan.workers > 1 else ""))
    try:
        with Watchdog(log.path, runtime.hang_after_s) as watchdog, _warnings_in(log):
            inner = StageReporter(store, stage.kind, stage.id, runtime.stop_requested, rank)
            reporter = _LoggingReporter(inner, stage, runtime, store, log, watchdog)
            executed = run_training(runtime, stage, plan, reporter)
    except StageInterrupted as stop:
        log.line(f"stopped: {stop.__cause__ or stop}")
        outcome = Outcome(stage.id, "interrupted")
    except Exception as error:
        log.error(error)
        outcome = Outcome(stage.id, "failed", failure_of(error))
    else:
        log.line("complete")
        outcome = Outcome(stage.id, "complete", executed=executed)
    if rank == 0:
        with suppress(StoreError, OSError):  # other nodes then do not see the last lines
            store.share(stage.kind, stage.id)
    return outcome


class _LoggingReporter:
    """Wraps a reporter: counts every call as progress, logs epochs, and watches the stage's lease."""

    def __init__(
        self,
        inner: Reporter,
        stage: PlannedStage,
        runtime: Runtime,
        store: Store,
        log: StageLog,
        watchdog: Watchdog,
    ) -> None:
        self._inner, self._log, self._watchdog = inner, log, watchdog
        self._storage, self._stage, self._driver = store.storage, (stage.kind, stage.id), runtime.driver
        self._checked, self._lost = time.monotonic(), False

    def log(self, record: EpochRecord) -> None:
        self._watchdog.progress()
        self._inner.log(record)
        values = {key: value for key, value in dataclasses.asdict(record).items() if value is not None}
        self._log.line(" ".join(f"{key} {_short(value)}" for key, value in values.items()))

    def save(self, directory: Path, step: int) -> None:
        """Save a checkpoint, unless another driver took the stage over: its checkpoint must stay."""
        self._watchdog.progress()
        if not self._lost:
            self._inner.save(directory, step)

    def latest(self) -> Path | None:
        return self._inner.latest()

    def stop_requested(self) -> bool:
        """The trainer asks about twice a second, between steps."""
        self._watchdog.progress()
        self._check_lease()
        return self._lost or self._inner.stop_requested()

    def _check_lease(self) -> None:
        now = time.monotonic()
        if self._lost or not self._driver or now - self._checked < _LEASE_CHECK_S:
            return
        self._checked = now
        with suppress(
            StoreError, OSError
        ):  # if this driver cannot reach the store, assume it still holds the lease
            self._lost = held_by(self._storage, *self._stage) != self._driver
            if self._lost:
                self._log.line("another driver has taken this stage over")


def _short(value: float) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


@contextmanager
def _warnings_in(log: StageLog) -> Iterator[None]:
    """Send Python's warnings to the log."""
    shown = warnings.showwarning

    def show(message, category, filename, lineno, file=None, line=None) -> None:  # type: ignore[no-untyped-def]
        log.line(f"{category.__name__}: {message} ({Path(filename).name}:{lineno})")

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown
