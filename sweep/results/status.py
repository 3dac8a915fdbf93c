"""How far a sweep is, read from the store: the answer does not depend on a living driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.spec.specs import STAGES, Stage
from ssl_sweep.sweep.spec.states import OF_CELLS, STATES, State
from ssl_sweep.sweep.spec.states import CellStatus as CellStatus
from ssl_sweep.sweep.store.leases import Holder, holders
from ssl_sweep.sweep.store.store import Store

STATUS_SCHEMA_VERSION = 2


@dataclass(frozen=True)
class FailedStage:
    """A stage that failed when it ran last."""

    stage: Stage
    id: str
    label: str
    kind: str
    message: str
    attempt: int
    attempts: Mapping[str, int]


@dataclass(frozen=True)
class RunningStage:
    """A stage that a driver has leased. If that driver died on another host, this is seen later."""

    stage: Stage
    id: str
    label: str
    driver: str
    host: str
    since: str


@dataclass(frozen=True)
class Status:
    """How far a sweep is."""

    sweep: str
    counts: Mapping[Stage, Mapping[State, int]]
    """Number of stages of each kind in each state. ``running``: leased by a driver; ``blocked``: a stage that
    it needs failed."""
    cells: Mapping[CellStatus, int]
    failures: tuple[FailedStage, ...]
    running: tuple[RunningStage, ...]

    def to_json(self) -> dict[str, Any]:
        """What ``ssl-sweep status --json`` prints."""
        return {"schema_version": STATUS_SCHEMA_VERSION, **asdict(self)}


def held(store: Store) -> dict[tuple[str, str], Holder]:
    """(stage, id) → the driver that has leased it, unless this driver is certainly dead."""
    found = holders(store.storage)
    split = {tuple(key.split("-", 1)): holder for key, holder in found.items() if holder.alive is not False}
    return {(key[0], key[-1]): holder for key, holder in split.items()}


def stored_status(store: Store, stage: Stage, id: str) -> State:
    """The state of one stage from the store only: ``blocked`` cannot be seen there."""
    if store.complete(stage, id):
        return "complete"
    if (stage, id) in held(store):
        return "running"
    return "failed" if store.failure(stage, id) is not None else "to_run"


def node_statuses(plan: Plan, store: Store) -> dict[str, State]:
    """The state of every stage, by id, in topological order."""
    running = held(store)
    found: dict[str, State] = {}
    for stage in plan.stages:
        if stage.state == "complete":
            found[stage.id] = "complete"
        elif (stage.kind, stage.id) in running:
            found[stage.id] = "running"
        elif stage.reason == "failed before" and store.failure(stage.kind, stage.id) is not None:
            found[stage.id] = "failed"
        elif any(found[id] in ("failed", "blocked") for id in stage.upstream):
            found[stage.id] = "blocked"
        else:
            found[stage.id] = "to_run"
    return found


def cell_statuses(plan: Plan, store: Store) -> dict[str, CellStatus]:
    """The state of every cell, by id."""
    return _of_cells(plan, node_statuses(plan, store))


def _of_cells(plan: Plan, stages: Mapping[str, State]) -> dict[str, CellStatus]:
    return {cell: OF_CELLS[stages[stage]] for cell, stage in plan.cell_stages.items()}


def status(plan: Plan, store: Store) -> Status:
    """The status of a plan."""
    stages = node_statuses(plan, store)
    holders_of = held(store)
    counts: dict[Stage, dict[State, int]] = {kind: dict.fromkeys(STATES, 0) for kind in STAGES}
    failures, running = [], []
    for stage in plan.stages:
        state = stages[stage.id]
        counts[stage.kind][state] += 1
        failure = store.failure(stage.kind, stage.id) if state == "failed" else None
        if failure is not None:
            facts = (failure.kind, failure.message, failure.attempt, failure.attempts)
            failures.append(FailedStage(stage.kind, stage.id, stage.label, *facts))
        holder = holders_of.get((stage.kind, stage.id)) if state == "running" else None
        if holder is not None:
            who = (holder.driver, holder.host, holder.since)
            running.append(RunningStage(stage.kind, stage.id, stage.label, *who))
    cells: dict[CellStatus, int] = dict.fromkeys(OF_CELLS.values(), 0)
    for cell in _of_cells(plan, stages).values():
        cells[cell] += 1
    return Status(plan.sweep, counts, cells, tuple(failures), tuple(running))
