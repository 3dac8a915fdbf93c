"""``ssl-sweep run``: plan, then execute what is missing. Running it again resumes."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from ssl_sweep.sweep.cluster.backend import RayWorkplace
from ssl_sweep.sweep.cost.feasible import require_feasible, require_room
from ssl_sweep.sweep.cost.limits import NO_LIMITS, LimitGuard, Limits
from ssl_sweep.sweep.cost.machine import machine, machine_of
from ssl_sweep.sweep.cost.predict import Experience, predict, train_plan
from ssl_sweep.sweep.errors import InfeasibleError, StoreError
from ssl_sweep.sweep.execution.backend import Cluster, Workplace
from ssl_sweep.sweep.execution.runtime import Runtime
from ssl_sweep.sweep.execution.scheduler import Progress, execute
from ssl_sweep.sweep.execution.stop import StopFlag, tidy_stops
from ssl_sweep.sweep.grid.load import Grid
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.graph import plan as planned
from ssl_sweep.sweep.planning.outputs import require_outside_images
from ssl_sweep.sweep.planning.planner import plan_grid, plan_read
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.planning.whereabouts import elsewhere, note_run
from ssl_sweep.sweep.results.table import results
from ssl_sweep.sweep.run.priority import Priority, order, require_cells
from ssl_sweep.sweep.run.progress import Listener
from ssl_sweep.sweep.spec.states import State
from ssl_sweep.sweep.store.leases import Leases, driving
from ssl_sweep.sweep.store.manifest import MIGRATED
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.tracking.location import tracking_uri as tracker_address
from ssl_sweep.sweep.tracking.location import where_tracked
from ssl_sweep.sweep.tracking.mirror import Mirror
from ssl_sweep.sweep.util.files import remove_abandoned, temporary
from ssl_sweep.sweep.util.program import this_program
from ssl_sweep.sweep.util.scratch import remove_scratch
from ssl_sweep.sweep.util.signals import Stop, stop_on_signal

_STOP_GRACE_S = 2.0  # for the mirror after Ctrl-C; the next run writes the rest
_PREPARATIONS = 3  # attempts to read files that change meanwhile


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run ended.

    Attributes:
        plan: the plan after the run.
        table: the results.
        executed: stages that this run executed.
        failed: stages that failed or are blocked by a failed one, as (stage, why).
        interrupted: the signal that stopped the run, or None.
        mirror_error: why MLflow lacks something, or ''.
        mirror_final: whether ``sync`` cannot write what MLflow lacks either.
        seconds: how long the run took.
        limit: which limit stopped the run, or ''.
    """

    plan: Plan
    table: pa.Table
    executed: tuple[PlannedStage, ...]
    failed: tuple[tuple[PlannedStage, str], ...]
    interrupted: int | None
    mirror_error: str
    seconds: float
    limit: str = ""
    mirror_final: bool = False

    @property
    def exit_code(self) -> int:
        if self.interrupted is not None:
            return 128 + self.interrupted
        if self.limit:
            return InfeasibleError.exit_code
        return 1 if self.failed else 0


def run(
    grid_path: Path,
    overrides: Sequence[str],
    *,
    store_uri: str,
    tracking_uri: str | None,
    address: str | None,
    listener: Listener,
    workplace: Workplace | None = None,
    limits: Limits = NO_LIMITS,
    priorities: Sequence[Priority] = (),
) -> RunResult:
    """Execute every stage of the grid that the store lacks, on Ray unless another ``workplace`` is given.

    Raises:
        GridError: the grid is wrong; nothing was started.
        InfeasibleError: it needs more than there is, or than ``limits`` allow; nothing was started.
        UsageError: a priority matches no cell, a limit in money was given without a price, the address of
            the tracker cannot be used, or the store is inside a folder of images.
        StoreError: the store cannot be used.
    """
    started = time.monotonic()
    store = Store(store_uri)
    tracker_address(store, tracking_uri)
    require_outside_images(grid_path, overrides, store.uri, "the store", "--store")
    if not store.remote and not store.root.exists() and (known := elsewhere(grid_path, store)):
        listener.say(f"{store.uri} is a new store; {known}")
    store.check_writable()
    stop_file = temporary(store.root, "stop")  # if the run is killed, the next one removes it
    flag = StopFlag(store, stop_file)
    with stop_on_signal(flag.put_up, listener.close) as stop, driving(store.storage) as leases:
        try:
            _tidy(store)
            grid, plan = plan_grid(grid_path, overrides, store)
            _require_migrated(plan, store)
            note_run(grid_path, store.uri)
            progresses: list[Progress] = []
            require_cells(priorities, plan)
            guard = LimitGuard(limits)
            if plan.to_run:
                require_feasible(plan, grid.compute, address)
                if address in (None, "local"):
                    guard.check(plan, store, grid.compute, machine(grid.compute))
                place = workplace or RayWorkplace()
                sweep = _Sweep(grid, store, leases, tracking_uri, listener, place, stop)
                sweep.guard, sweep.priorities = guard, priorities
                try:
                    plan = sweep.execute(plan, address, stop_file)
                finally:
                    listener.close()
                progresses = sweep.progresses
                mirror_error, mirror_final = sweep.mirror_error, sweep.mirror_final
            else:
                mirror = Mirror(plan, store, tracking_uri, grid.compute.log_models, leases)
                mirror_error, mirror_final = mirror.finish(), mirror.final
            # The cells as planned at the start: the grid may have been edited since, or its images moved.
            plan = planned(plan.cells, store, plan.sweep, plan.notes)
        finally:
            flag.take_down()
    limit = guard.stop_reason if plan.to_run else ""
    return RunResult(
        plan=plan,
        table=results(plan, store),
        executed=tuple(stage for p in progresses for stage in p.executed),
        failed=_failures(progresses, plan, stopped=stop.requested or bool(limit)),
        interrupted=stop.signal,
        mirror_error=mirror_error,
        seconds=time.monotonic() - started,
        limit=limit,
        mirror_final=mirror_final,
    )


def _require_migrated(plan: Plan, store: Store) -> None:
    """Raises StoreError if finished trainings would run again only because they have ids of an older form."""
    older = [note.text for note in plan.notes if note.kind == "older"]
    if older and not store.there(MIGRATED):
        raise StoreError(older[0], hint="it lists what it cannot map; the next run performs that again")


def _tidy(store: Store) -> None:
    """Remove what killed runs left."""
    store.reconcile()
    for folder in ("", "leases", "drivers", "mlflow"):
        remove_abandoned(store.root / folder)
    Leases(store.storage).tidy()
    tidy_stops(store)
    remove_scratch()


class _Sweep:
    """One execution of a plan, and its outcome."""

    def __init__(
        self,
        grid: Grid,
        store: Store,
        leases: Leases,
        tracking_uri: str | None,
        listener: Listener,
        workplace: Workplace,
        stop: Stop,
    ) -> None:
        self._grid, self._compute, self._store = grid, grid.compute, store
        self._tracking_uri, self._listener = tracking_uri, listener
        self._workplace, self._stop, self._leases = workplace, stop, leases
        self._mirror: Mirror | None = None
        self.guard = LimitGuard(NO_LIMITS)
        self.priorities: Sequence[Priority] = ()
        self.progresses: list[Progress] = []
        self.mirror_error, self.mirror_final = "", False

    def execute(self, plan: Plan, address: str | None, stop_file: Path) -> Plan:
        """Prepare the datasets, plan again with their fingerprints, then execute everything else."""
        self._listener.say(f"starting Ray{f' at {address}' if address else ''}")
        with self._workplace.join(address) as cluster:
            require_room(plan.to_run, self._compute, cluster)
            self._place = machine_of(self._compute, cluster)
            if not cluster.private:
                self.guard.check(plan, self._store, self._compute, self._place)
            if not self._store.remote:
                self._workplace.require_shared(self._store.root)
            runtime = Runtime(
                store=self._store.uri,
                stop_file=stop_file,
                training=self._compute.training,
                gpu=self._place.device == "gpu",
                probe_device="cuda" if self._compute.probe_device == "gpu" else "cpu",
                driver=self._leases.driver,
                hang_after_s=self._compute.hang_after_s,
                private=cluster.private,
                program=this_program(),
            )
            plan = self._prepared(plan, runtime, cluster)
            # A stage that is still provisional needs a dataset that could not be prepared.
            ready = [stage for stage in plan.stages if stage.kind != "prepare" and not stage.provisional]
            for note in plan.notes:
                self._listener.say(note.text)
            self._listener.planned(ready, self._store.root)
            if tracked := where_tracked(self._store, self._tracking_uri):
                self._listener.say(tracked)
            models = self._compute.log_models
            self._mirror = Mirror(plan, self._store, self._tracking_uri, models, self._leases)
            self._mirror.start()
            weights = {p.spec.config.weights: p.weights for c in plan.cells for p in c.encoders}
            runtime = replace(runtime, datasets=datasets_of(plan, self._store), weights=weights)
            self._carry_out(plan, ready, runtime, cluster)
        grace = _STOP_GRACE_S if self._stop.signal is not None else math.inf
        # After the cluster is left: it need not wait for MLflow
        self.mirror_error = self._mirror.finish(grace)
        self.mirror_final = self._mirror.final
        return plan

    def _prepared(self, plan: Plan, runtime: Runtime, cluster: Cluster) -> Plan:
        """Prepare the datasets as far as possible, and plan again.

        If a dataset's files changed while they were read, the result may mix both versions. It is withdrawn
        and prepared again, a few times at most.
        """
        tried: set[str] = set()
        for _ in range(_PREPARATIONS):
            todo = [stage for stage in plan.prepares if stage.id not in tried]
            if not todo or self._stop.requested:
                break
            tried.update(stage.id for stage in todo)
            self._carry_out(plan, todo, runtime, cluster)
            plan = plan_read(self._grid, self._store)
            changed = {name for stage in plan.prepares if stage.id not in tried for name in stage.datasets}
            for stage in todo:
                if changed.intersection(stage.datasets) and self._store.withdraw("prepare", stage.id):
                    self._listener.say(
                        f"the files of {stage.label} changed while they were read; preparing it again"
                    )
        return plan

    def _changed(self, stage: PlannedStage, state: State, message: str) -> None:
        self.guard.changed(stage, state)
        if state == "complete" and self._mirror is not None:
            self._mirror.finished(stage)
        self._listener.changed(stage, state, message)

    def _tick(self, stop_file: Path, progress: Progress) -> None:
        if self.guard.over and not self._stop.spent:
            self._stop.spent = True
            StopFlag(self._store, stop_file).put_up()
            self._listener.say("the limit is reached: trainings write a checkpoint, and nothing new starts")
        self._listener.tick(progress)

    def _carry_out(
        self, plan: Plan, stages: Sequence[PlannedStage], runtime: Runtime, cluster: Cluster
    ) -> None:
        predictions = predict(plan, Experience.of(self._store), self._place, self._compute)
        stages = order(stages, plan, predictions, self.priorities)
        self.guard.follow(predictions, self._place.device == "gpu")
        plans = {
            stage.id: train_plan(stage, self._compute, predictions[stage.id], self._place)
            for stage in stages
            if stage.heavy
        }
        with closing(self._workplace.backend(runtime, cluster, plans)) as backend:
            progress = execute(
                stages,
                backend,
                self._store,
                self._leases,
                stop=lambda: self._stop.requested,
                grace_s=self._compute.grace_s,
                changed=self._changed,
                tick=partial(self._tick, runtime.stop_file),
                allows=self.guard.allows,
            )
        self.progresses.append(progress)


def datasets_of(plan: Plan, store: Store) -> dict[str, str]:
    """For every prepared dataset: the fingerprint of its data → the id of its prepare stage."""
    manifests = (store.complete("prepare", stage.id) for stage in plan.stages if stage.kind == "prepare")
    return {str(m.outputs["fingerprint"]): m.id for m in manifests if m is not None}


def _failures(
    progresses: Sequence[Progress], plan: Plan, *, stopped: bool
) -> tuple[tuple[PlannedStage, str], ...]:
    """Stages that failed or are blocked and, unless the run was stopped, all others that are not done."""
    found = {
        stage.id: (stage, progress.stages[stage.id].message or stage.reason)
        for progress in progresses
        for stage in progress.having("failed", "blocked")
        if plan.by_id[stage.id].state != "complete"  # another driver completed it since
    }
    changed = "the files of its dataset changed while the run read them; run the sweep again"
    why = "its dataset could not be prepared" if found else changed
    for stage in () if stopped else plan.to_run:
        unread = stage.provisional or stage.kind == "prepare"
        found.setdefault(stage.id, (stage, why if unread else f"not done: {stage.reason}"))
    return tuple(found.values())
