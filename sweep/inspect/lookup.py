"""Find a stage or cell by its id or the first letters of it, with or without a grid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssl_sweep.sweep.errors import UsageError
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.planner import plan_in
from ssl_sweep.sweep.spec.specs import STAGES, Stage
from ssl_sweep.sweep.store.store import Store

AT_LEAST = 4
"""Number of letters of an id that a search needs at least."""
_SHOWN = 8  # stages listed in a message


@dataclass(frozen=True)
class Target:
    """A stage that was found."""

    stage: Stage
    id: str
    cell: str = ""
    """Id of the cell, if a cell was named; ``id`` is then the stage with its result."""


@dataclass(frozen=True)
class Scope:
    """Where to look: a store, and the plan of a grid if one was given."""

    store: Store
    plan: Plan | None

    def find(self, text: str) -> Target:
        """Return the one stage or cell whose id begins with ``text``.

        Raises:
            UsageError: ``text`` is too short, unknown or ambiguous.
        """
        if len(text) < AT_LEAST:
            raise UsageError(
                f"{text!r} is too short for an id", hint=f"give at least {AT_LEAST} letters of the id"
            )
        found = {target.cell or target.id: target for target in self._targets() if _matches(target, text)}
        if text in found:
            return found[text]
        if not found:
            places = f"the store {self.store.uri}" + (f" or in {self.plan.sweep}" if self.plan else "")
            raise UsageError(
                f"no stage or cell {text!r} in {places}",
                hint="`ssl-sweep plan GRID --json` lists the stages, `ssl-sweep results GRID` the cells; to"
                " find a cell, or a stage that never ran, give its grid: ssl-sweep explain GRID ID",
            )
        if len(found) > 1:
            some = [f"{'cell' if found[id].cell else found[id].stage} {id}" for id in sorted(found)]
            more = f" and {len(some) - _SHOWN} more" if len(some) > _SHOWN else ""
            raise UsageError(
                f"{text!r} matches {', '.join(some[:_SHOWN])}{more}", hint="give more letters of the id"
            )
        return next(iter(found.values()))

    def _targets(self) -> Iterable[Target]:
        for kind in STAGES:
            yield from (Target(kind, id) for id in self.store.ids(kind))
        if self.plan is not None:
            yield from (Target(stage.kind, stage.id) for stage in self.plan.stages)
            for cell, id in self.plan.cell_stages.items():
                yield Target(self.plan.by_id[id].kind, id, cell)


def read_words(words: Sequence[str], store_uri: str) -> tuple[Scope, list[str]]:
    """Split the words ``[GRID] [KEY=VALUE]... ID...`` of a command line into where to look and the ids.

    Raises:
        UsageError: there are two grids, or a setting without a grid.
        GridError: the grid is wrong.
        StoreError: no grid was given, and the store does not exist.
    """
    grids = [word for word in words if _is_grid(word)]
    overrides = [word for word in words if "=" in word and not _is_grid(word)]
    ids = [word for word in words if word not in grids and word not in overrides]
    if len(grids) > 1:
        raise UsageError(f"two grids were given: {grids[0]} and {grids[1]}", hint="give one grid")
    if overrides and not grids:
        raise UsageError(
            f"{overrides[0]} changes a grid, but no grid was given", hint="put the grid before it"
        )
    plan, store = plan_in(grids[0], overrides, store_uri) if grids else (None, Store(store_uri))
    if not grids:
        store.require_existing()
    return Scope(store, plan), ids


def _is_grid(word: str) -> bool:
    return word.endswith((".yaml", ".yml")) or (Path(word).is_file() and "=" not in word)


def _matches(target: Target, text: str) -> bool:
    return (target.cell or target.id).startswith(text)
