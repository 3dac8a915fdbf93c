"""Which stage was made from which, from the plan of a grid, or only from the manifests in a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.results.status import node_statuses, stored_status
from ssl_sweep.sweep.spec.specs import STAGES, Spec, Stage
from ssl_sweep.sweep.spec.states import State
from ssl_sweep.sweep.store.store import Store


@dataclass(frozen=True)
class Known:
    """One stage."""

    stage: Stage
    id: str
    upstream: tuple[str, ...]
    """Ids of the stages that it reads; empty if the store has no manifest."""
    spec: Spec | None = None
    """None if the store has no manifest, or one of an older form."""
    label: str = ""
    reason: str = ""
    """Why it is to run or not; '' without a plan."""


class Lineage:
    """The stages of a plan, or of a store if there is no plan, with their states.

    Without a plan, no stage counts as blocked.
    """

    def __init__(self, store: Store, plan: Plan | None) -> None:
        self._store = store
        self.stages = {known.id: known for known in (_planned(plan) if plan else _stored(store))}
        self._states = node_statuses(plan, store) if plan else None

    def state(self, id: str) -> State:
        """Return the state of a stage; an unknown one is to run."""
        if self._states is not None and id in self._states:
            return self._states[id]
        if id not in self.stages:
            return "to_run"
        return stored_status(self._store, self.stages[id].stage, id)

    def dependants(self, id: str) -> list[Known]:
        """Return every stage that depends on this one, nearest first."""
        below = {id}
        found: list[Known] = []
        while True:
            more = [k for k in self.stages.values() if k.id not in below and below.intersection(k.upstream)]
            if not more:
                return found
            below.update(k.id for k in more)
            found += more


def _planned(plan: Plan) -> Iterator[Known]:
    for stage in plan.stages:
        yield Known(stage.kind, stage.id, stage.upstream, stage.spec, stage.label, stage.reason)


def _stored(store: Store) -> Iterator[Known]:
    for stage in STAGES:
        for id in store.ids(stage):
            manifest = store.manifest(stage, id)
            yield Known(stage, id, manifest.upstream, manifest.typed()) if manifest else Known(stage, id, ())
