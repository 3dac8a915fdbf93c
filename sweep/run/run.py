"""`ssl-sweep run`: plan, then execute what is missing. Running it again is how one resumes."""

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
from ssl_sweep.sweep.cost.limits import NO_LIMITS, Budget, Limits
from ssl_sweep.sweep.cost.machine import machine
from ssl_sweep.sweep.cost.predict import Experience, predict
from ssl_sweep.sweep.cost.resources import machine_of, train_plan
from ssl_sweep.sweep.errors import InfeasibleError
from ssl_sweep.sweep.execution.backend import Cluster, Workplace
from ssl_sweep.sweep.execution.runtime import Runtime
from ssl_sweep.sweep.execution.scheduler import Progress, execute
from ssl_sweep.sweep.execution.stop import StopFlag, tidy_stops
from ssl_sweep.sweep.grid.load import Grid
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.graph import plan as planned
from ssl_sweep.sweep.planning.planner import plan_grid, plan_read
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.results.table import results
from ssl_sweep.sweep.run.priority import Priority, order, require_cells
from ssl_sweep.sweep.run.progress import Listener
from ssl_sweep.sweep.store.leases import Leases, driving
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.tracking.location import where_tracked
from ssl_sweep.sweep.tracking.mirror import Mirror
from ssl_sweep.sweep.util.files import remove_abandoned, temporary
from ssl_sweep.sweep.util.scratch import remove_scratch
from ssl_sweep.sweep.util.signals import Stop, stop_on_signal

# The mirror may still write this long when a person waits for the prompt; the next run writes what is left.
_STOP_GRACE_S = 2.0
_PREPARATIONS = 3


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run ended.

    Attributes:
        executed: stages carried out by this run.
        failed: stages that failed or wait for one that did, as (node, why).
        interrupted: the signal that stopped it, else None.
        mirror_error: why the tracker lacks something, or ''.
        budget: why it ended before its end, where that was its budget, or ''.
    """

    plan: Plan
    table: pa.Table
    executed: tuple[PlannedStage, ...]
    failed: tuple[tuple[PlannedStage, str], ...]
    interrupted: int | None
    mirror_error: str
    seconds: float
    budget: str = ""

    @property
    def exit_code(self) -> int:
        if self.interrupted is not None:
            return 128 + self.interrupted
        if self.budget:
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
    """Execute every stage of the grid that the store lacks, on Ray unless another `workplace` is given.

    Raises:
        GridError: the grid is wrong; nothing was started.
        InfeasibleError: it asks for more than there is, or than `limits` allow; nothing was started.
        UsageError: a priority is of no cell, or a limit in money without a price.
        StoreError: the store cannot be used.
    """
    started = time.monotonic()
    store = Store(store_uri)
    store.check_writable()
    stop_file = temporary(store.root, "stop")  # what a killed run leaves of it is removed by the next
    flag = StopFlag(store, stop_file)
    with stop_on_signal(flag.put_up, listener.close) as stop, driving(store.storage) as leases:
        try:
            _tidy(store)
            grid, plan = plan_grid(grid_path, overrides, store)
            progresses: list[Progress] = []
            require_cells(priorities, plan)
            budget = Budget(limits)
            if plan.to_run:
                require_feasible(plan, grid.compute, address)
                if address in (None, "local"):
                    budget.check(plan, store, grid.compute, machine(grid.compute))
                place = workplace or RayWorkplace()
                sweep = _Sweep(grid, store, leases, tracking_uri, listener, place, stop)
                sweep.budget, sweep.priorities = budget, priorities
                try:
                    plan = sweep.execute(plan, address, stop_file)
                finally:
                    listener.close()
                progresses = sweep.progresses
                mirror_error = sweep.mirror_error
            else:
                mirror_error = Mirror(plan, store, tracking_uri, grid.compute.log_models, leases).finish()
            # The cells that were asked: weeks later the grid may be edited, its images elsewhere.
            plan = planned(plan.cells, store, plan.sweep, plan.notes)
        finally:
            flag.take_down()
    said = budget.said if plan.to_run else ""
    return RunResult(
        plan=plan,
        table=results(plan, store),
        executed=tuple(p.stages[id] for p in progresses for id in p.executed),
        failed=_failures(progresses, plan, stopped=stop.requested or bool(said)),
        interrupted=stop.signal,
        mirror_error=mirror_error,
        seconds=time.monotonic() - started,
        budget=said,
    )


def _tidy(store: Store) -> None:
    """Put away what killed runs left."""
    store.reconcile()
    for folder in ("", "leases", "drivers", "mlflow"):
        remove_abandoned(store.root / folder)
    Leases(store.storage).tidy()
    tidy_stops(store)
    remove_scratch()


class _Sweep:
    """One execution: what it was asked, and what became of it."""

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
        self.budget = Budget(NO_LIMITS)
        self.priorities: Sequence[Priority] = ()
        self.progresses: list[Progress] = []
        self.mirror_error = ""

    def execute(self, plan: Plan, address: str | None, stop_file: Path) -> Plan:
        """Prepare the datasets, plan again with their fingerprints known, then do everything else."""
        self._listener.say(f"starting Ray{f' at {address}' if address else ''}")
        with self._workplace.join(address) as cluster:
            require_room(plan.to_run, self._compute, cluster)
            self._place = machine_of(self._compute, cluster)
            if not cluster.private:
                self.budget.check(plan, self._store, self._compute, self._place)
            if not self._store.remote:
                self._workplace.require_shared(self._store.root)
            runtime = Runtime(
                store=self._store.uri,
                stop_file=stop_file,
                backend=self._compute.backend,
                checkpoint_every_s=self._compute.checkpoint_every_s,
                checkpoint_every_steps=self._compute.checkpoint_every_steps,
                activation_checkpointing=self._compute.activation_checkpointing,
                compile=self._compute.compile,
                watch_knn=self._compute.watch_knn,
                gpu=self._place.device == "gpu",
                probe_device="cuda" if self._compute.probe_device == "gpu" else "cpu",
                driver=self._leases.driver,
                hang_after_s=self._compute.hang_after_s,
                private=cluster.private,
            )
            plan = self._prepared(plan, runtime, cluster)
            # What is provisional now needs a dataset that could not be prepared.
            ready = [stage for stage in plan.stages if stage.kind != "prepare" and not stage.provisional]
            for note in plan.notes:
                self._listener.say(note)
            self._listener.planned(ready, self._store.root)
            if note := where_tracked(self._store, self._tracking_uri):
                self._listener.say(note)
            models = self._compute.log_models
            self._mirror = Mirror(plan, self._store, self._tracking_uri, models, self._leases)
            self._mirror.start()
            weights = {p.spec.config.weights: p.weights for c in plan.cells for p in c.encoders}
            runtime = replace(runtime, datasets=datasets_of(plan, self._store), weights=weights)
            self._carry_out(plan, ready, runtime, cluster)
        grace = _STOP_GRACE_S if self._stop.signal is not None else math.inf
        self.mirror_error = self._mirror.finish(grace)  # the cluster need not wait for the tracker
        return plan

    def _prepared(self, plan: Plan, runtime: Runtime, cluster: Cluster) -> Plan:
        """The plan with the datasets prepared, as far as they can be. What was made of files that changed
        meanwhile may be of neither state of them: it is withdrawn, and done again a few times."""
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
                    self._listener.say(f"the files of {stage.label} changed while they were read; once more")
        return plan

    def _changed(self, stage: PlannedStage, status: str, message: str) -> None:
        self.budget.changed(stage, status)
        if status == "complete" and self._mirror is not None:
            self._mirror.finished(stage)
        self._listener.changed(stage, status, message)

    def _tick(self, stop_file: Path, progress: Progress) -> None:
        if self.budget.over and not self._stop.spent:
            self._stop.spent = True
            StopFlag(self._store, stop_file).put_up()
            self._listener.say("the budget is spent: trainings write a checkpoint, nothing new starts")
        self._listener.tick(progress)

    def _carry_out(
        self, plan: Plan, stages: Sequence[PlannedStage], runtime: Runtime, cluster: Cluster
    ) -> None:
        predictions = predict(plan, Experience.of(self._store), self._place, self._compute)
        stages = order(stages, plan, predictions, self.priorities)
        self.budget.follow(predictions, self._place.device == "gpu")
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
                allows=self.budget.allows,
            )
        self.progresses.append(progress)


def datasets_of(plan: Plan, store: Store) -> dict[str, str]:
    """Data fingerprint → id of the prepare stage that holds the images, for every prepared dataset."""
    manifests = (store.complete("prepare", stage.id) for stage in plan.stages if stage.kind == "prepare")
    return {str(m.outputs["fingerprint"]): m.id for m in manifests if m is not None}


def _failures(
    progresses: Sequence[Progress], plan: Plan, *, stopped: bool
) -> tuple[tuple[PlannedStage, str], ...]:
    """What failed or waits for it and, unless the run was stopped, whatever else is not done."""
    found = {
        stage.id: (stage, progress.messages.get(stage.id, stage.reason))
        for progress in progresses
        for stage in progress.having("failed", "blocked")
        if plan.by_id[stage.id].state != "complete"  # by another driver since
    }
    changed = "the files of its dataset changed while the run read them; run again"
    why = "its dataset could not be prepared" if found else changed
    for stage in () if stopped else plan.to_run:
        unread = stage.provisional or stage.kind == "prepare"
        found.setdefault(stage.id, (stage, why if unread else f"not done: {stage.reason}"))
    return tuple(found.values())
