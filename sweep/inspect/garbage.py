"""`ssl-sweep gc`: what is in a store and belongs to none of the given grids.

A finished training keeps its encoder alone and an unfinished one its last checkpoint, both for as long as a
grid asks for it. Nothing is deleted that a live run works on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl_sweep.sweep.errors import InfeasibleError, UsageError
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.planner import plan_grid
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.specs import STAGES, Stage
from ssl_sweep.sweep.store.leases import drivers, holders
from ssl_sweep.sweep.store.store import Store


@dataclass(frozen=True)
class Kind:
    """Things of one kind that no grid refers to."""

    name: str
    count: int
    bytes: int


@dataclass(frozen=True)
class Garbage:
    """What was found, by kind, and sentences about it."""

    kinds: tuple[Kind, ...]
    said: tuple[str, ...]
    deleted: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "deleted": self.deleted,
            "kinds": [vars(kind) for kind in self.kinds],
            "notes": list(self.said),
        }


@dataclass
class _Found:
    """Whole stages, and checkpoints of finished ones, with their bytes."""

    stages: dict[tuple[Stage, str], int] = field(default_factory=dict)
    checkpoints: dict[tuple[Stage, str], int] = field(default_factory=dict)

    def kinds(self) -> Iterator[Kind]:
        for stage in STAGES:
            sizes = [size for (of, _), size in self.stages.items() if of == stage]
            if sizes:
                yield Kind(stage, len(sizes), sum(sizes))
        if self.checkpoints:
            yield Kind(
                "checkpoints of finished trainings", len(self.checkpoints), sum(self.checkpoints.values())
            )


def collect(
    grids: Sequence[Path], store_uri: str, *, delete: bool, features: bool = False, data: bool = False
) -> Garbage:
    """Find, and with `delete` remove, what none of `grids` refers to. With `features` also features that no
    stage still to run reads, with `data` prepared datasets that no grid names.

    Raises:
        GridError: a grid is wrong.
        UsageError: a grid's datasets are not prepared here, so nobody can say what is its own.
        InfeasibleError: a run is at work in the store, and `delete` was asked.
    """
    store = Store(store_uri)
    plans = [plan_grid(path, (), store, expect=True)[1] for path in grids]
    for path, plan in zip(grids, plans, strict=True):
        _require_prepared(path, plan)
    wanted = {(stage.kind, stage.id) for plan in plans for stage in plan.stages}
    if features:
        wanted -= {("features", id) for id in _idle_features(plans)}
    held = _held(store)
    found = _Found()
    with store.survey():
        for kind in STAGES:
            if kind == "prepare" and not data:
                continue
            for id in store.ids(kind):
                if (kind, id) in held:
                    continue
                sizes = store.sizes(kind, id)
                if (kind, id) not in wanted:
                    found.stages[kind, id] = sum(sizes.values())
                elif store.finished(kind, id) and (left := _checkpoint(sizes)):
                    found.checkpoints[kind, id] = left
    if delete:
        _require_alone(store)
        for kind, id in found.stages:
            store.remove(kind, id)
        for kind, id in found.checkpoints:
            store.drop_checkpoint(kind, id)
    return Garbage(tuple(found.kinds()), tuple(_said(found, delete, len(held))), delete)


def _require_alone(store: Store) -> None:
    """A driver holds no lease while it plans, waits or writes the mirror, and nobody knows its grid."""
    for driver in drivers(store.storage).values():
        if driver.alive is not False:
            raise InfeasibleError(
                "a run is at work in this store, or its machine is away"
                f" ({driver.driver}, seen {driver.since}): it may need what would go",
                hint="wait until it has ended; of one that died elsewhere any run here takes the record away",
            )


def _require_prepared(path: Path, plan: Plan) -> None:
    names = sorted({name for stage in plan.prepares for name in stage.datasets})
    if names:
        raise UsageError(
            f"{path}: {', '.join(names)} is not prepared in this store, so nobody knows what is this grid's",
            hint="leave the grid out if it never ran here, or: ssl-sweep data prepare",
        )


def _idle_features(plans: Sequence[Plan]) -> set[str]:
    """Features that no stage still to run reads."""

    def needs(stage: PlannedStage) -> bool:
        return stage.state == "to_run" and stage.kind in ("probe", "finetune")

    read = {up for plan in plans for stage in plan.stages if needs(stage) for up in stage.upstream}
    return {stage.id for plan in plans for stage in plan.stages if stage.kind == "features"} - read


def _held(store: Store) -> set[tuple[Stage, str]]:
    """Stages whose lease is a driver's that is not surely dead."""
    leased = (
        name.partition("-") for name, holder in holders(store.storage).items() if holder.alive is not False
    )
    return {(stage, id) for stage, _, id in leased if stage in STAGES}


def _checkpoint(sizes: dict[str, int]) -> int:
    return sum(size for name, size in sizes.items() if "/checkpoint/" in name)


def _said(found: _Found, delete: bool, held: int) -> Iterator[str]:
    total = sum(found.stages.values()) + sum(found.checkpoints.values())
    if not total and not found.stages:
        yield "nothing in the store is without a grid"
    else:
        yield "deleted" if delete else "nothing was deleted; --delete does it"
    if held:
        yield f"{held} stages that a live run works on were left out"
