"""``ssl-sweep gc``: find, and delete on request, what is in a store and belongs to none of the given grids.

As long as a grid needs them, a finished training keeps its encoder and an unfinished one its last checkpoint.
Nothing is deleted while a run may be using the store.
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
from ssl_sweep.sweep.results.status import held
from ssl_sweep.sweep.spec.specs import STAGES, Stage
from ssl_sweep.sweep.store.leases import drivers
from ssl_sweep.sweep.store.store import Store


@dataclass(frozen=True)
class Kind:
    """Garbage of one kind."""

    name: str
    count: int
    bytes: int


@dataclass(frozen=True)
class Garbage:
    """What was found."""

    kinds: tuple[Kind, ...]
    notes: tuple[str, ...]
    """Sentences for the user."""
    deleted: bool

    def to_json(self) -> dict[str, Any]:
        """What ``ssl-sweep gc --json`` prints."""
        return {
            "deleted": self.deleted,
            "kinds": [vars(kind) for kind in self.kinds],
            "notes": list(self.notes),
        }


@dataclass
class _Found:
    """Whole stages, and checkpoints of finished stages, with their bytes."""

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
    """Find what none of the grids needs.

    Args:
        grids: Grid files.
        store_uri: The store.
        delete: Delete what is found.
        features: Also find features that no stage still to run reads.
        data: Also find prepared datasets that no grid names.

    Raises:
        GridError: a grid is wrong.
        UsageError: a dataset of a grid is not prepared, so the ids of the grid's stages are unknown.
        InfeasibleError: ``delete`` was asked for, and a run may be using the store.
    """
    store = Store(store_uri)
    plans = [plan_grid(path, (), store, expect=True)[1] for path in grids]
    for path, plan in zip(grids, plans, strict=True):
        _require_prepared(path, plan)
    wanted = {(stage.kind, stage.id) for plan in plans for stage in plan.stages}
    if features:
        wanted -= {("features", id) for id in _idle_features(plans)}
    in_use = {key for key in held(store) if key[0] in STAGES}
    found = _Found()
    with store.survey():
        for kind in STAGES:
            if kind == "prepare" and not data:
                continue
            for id in store.ids(kind):
                if (kind, id) in in_use:
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
    return Garbage(tuple(found.kinds()), tuple(_notes(found, delete, len(in_use))), delete)


def _require_alone(store: Store) -> None:
    """Refuse if a run may be using the store: it holds no lease while it plans, and its grid is unknown."""
    for driver in drivers(store.storage).values():
        if driver.alive is not False:
            raise InfeasibleError(
                f"driver {driver.driver}, seen {driver.since}, may still be running in this store and need"
                " what would be deleted",
                hint="wait for it to finish; if it died on another machine, the next run removes its record",
            )


def _require_prepared(path: Path, plan: Plan) -> None:
    names = sorted({name for stage in plan.prepares for name in stage.datasets})
    if names:
        raise UsageError(
            f"{path}: not prepared in this store: {', '.join(names)}; so what this grid needs is unknown",
            hint="leave the grid out if it never ran here, or run: ssl-sweep data prepare",
        )


def _idle_features(plans: Sequence[Plan]) -> set[str]:
    """Return the features that no stage still to run reads."""

    def needs(stage: PlannedStage) -> bool:
        return stage.state == "to_run" and stage.kind in ("probe", "finetune")

    read = {up for plan in plans for stage in plan.stages if needs(stage) for up in stage.upstream}
    return {stage.id for plan in plans for stage in plan.stages if stage.kind == "features"} - read


def _checkpoint(sizes: dict[str, int]) -> int:
    return sum(size for name, size in sizes.items() if "/checkpoint/" in name)


def _notes(found: _Found, delete: bool, in_use: int) -> Iterator[str]:
    total = sum(found.stages.values()) + sum(found.checkpoints.values())
    if not total and not found.stages:
        yield "everything in the store belongs to one of the grids"
    else:
        yield "deleted" if delete else "nothing was deleted; add --delete to delete it"
    if in_use:
        yield f"stages that a run is using are left out: {in_use}"
