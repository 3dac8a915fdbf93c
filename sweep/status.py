"""How far a sweep is, read off the store: a killed driver and a live one give the same answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sweep.plan import Plan
from sweep.specs import STAGES, Stage
from sweep.store import Store

StageStatus = Literal["complete", "to_run", "failed", "blocked"]
CellStatus = Literal["complete", "failed", "blocked", "missing"]
STATES: tuple[StageStatus, ...] = ("complete", "to_run", "failed", "blocked")
STATUS_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class FailedStage:
    """A stage that failed last time it ran."""

    stage: Stage
    id: str
    label: str
    kind: str
    message: str
    attempt: int


@dataclass(frozen=True)
class Status:
    """`counts` by stage and state; blocked means that a stage above failed."""

    sweep: str
    counts: Mapping[Stage, Mapping[StageStatus, int]]
    cells: Mapping[CellStatus, int]
    failures: tuple[FailedStage, ...]

    @property
    def states(self) -> tuple[StageStatus, ...]:
        return STATES

    def to_json(self) -> dict[str, Any]:
        """What `ssl-sweep status --json` prints."""
        return {"schema_version": STATUS_SCHEMA_VERSION, **asdict(self)}


def node_statuses(plan: Plan, store: Store) -> dict[str, StageStatus]:
    """The state of every node, by id; nodes come in topological order."""
    found: dict[str, StageStatus] = {}
    for node in plan.nodes:
        if node.state == "complete":
            found[node.id] = "complete"
        elif node.reason == "failed before" and store.failure(node.stage, node.id) is not None:
            found[node.id] = "failed"
        elif any(found[id] in ("failed", "blocked") for id in node.upstream):
            found[node.id] = "blocked"
        else:
            found[node.id] = "to_run"
    return found


def cell_statuses(plan: Plan, store: Store) -> dict[str, CellStatus]:
    """The state of every cell's answer, by the cell's id."""
    nodes = node_statuses(plan, store)
    words: Mapping[StageStatus, CellStatus] = {
        "complete": "complete",
        "to_run": "missing",
        "failed": "failed",
        "blocked": "blocked",
    }
    return {cell: words[nodes[node]] for cell, node in plan.cell_nodes.items()}


def status(plan: Plan, store: Store) -> Status:
    """Counts and failures of a plan."""
    nodes = node_statuses(plan, store)
    counts: dict[Stage, dict[StageStatus, int]] = {stage: dict.fromkeys(STATES, 0) for stage in STAGES}
    failures = []
    for node in plan.nodes:
        counts[node.stage][nodes[node.id]] += 1
        failure = store.failure(node.stage, node.id) if nodes[node.id] == "failed" else None
        if failure is not None:
            facts = (failure.kind, failure.message, failure.attempt)
            failures.append(FailedStage(node.stage, node.id, node.label, *facts))
    cells: dict[CellStatus, int] = {"complete": 0, "failed": 0, "blocked": 0, "missing": 0}
    for state in cell_statuses(plan, store).values():
        cells[state] += 1
    return Status(plan.sweep, counts, cells, tuple(failures))
