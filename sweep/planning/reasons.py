"""Why a stage runs: one primary reason each, read off the store.

failed before     it left an error.json
missing           it was carried out once, and its manifest or some of its files are gone
damaged           its manifest cannot be read, or a file has not the size that was committed
version raised    under an earlier VERSIONS number of its own kind the store has it
upstream changed  with an earlier version of a stage above, or earlier contents of a dataset, the store has it
new               none of these
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from ssl_sweep.sweep.spec.identity import full_form, stage_id
from ssl_sweep.sweep.spec.specs import (
    UNPREPARED,
    VERSIONS,
    FeatureSpec,
    FinetuneSpec,
    PrepareSpec,
    PretrainSpec,
    ProbeSpec,
    Spec,
    Stage,
)
from ssl_sweep.sweep.store.store import Store

if TYPE_CHECKING:
    from ssl_sweep.sweep.planning.nodes import Node

CHANGED = "upstream changed"


@dataclass
class _Past:
    """The plan as it would have been with an earlier version of one stage, or earlier contents of one
    dataset: `ids` maps present ids to those of then."""

    nodes: Mapping[str, Node]
    stage: Stage | None = None
    version: int = 0
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    prepares: Mapping[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    def id(self, id: str) -> str:
        if id not in self.ids:
            node = self.nodes.get(id)
            self.ids[id] = id if node is None else self._id(node)
        return self.ids[id]

    def _id(self, node: Node) -> str:
        if node.id in self.prepares:
            return self.prepares[node.id]
        version = self.version if node.stage == self.stage else None
        return stage_id(node.stage, self._spec(node.spec), version)

    def _spec(self, spec: Spec) -> Spec:
        then = self.fingerprints
        match spec:
            case PretrainSpec():
                parts = (replace(p, fingerprint=then.get(p.fingerprint, p.fingerprint)) for p in spec.parts)
                return replace(spec, parts=tuple(sorted(parts, key=lambda p: p.fingerprint)))
            case FeatureSpec():
                fingerprint = then.get(spec.fingerprint, spec.fingerprint)
                return replace(spec, encoder=self.id(spec.encoder), fingerprint=fingerprint)
            case FinetuneSpec():
                fingerprint = then.get(spec.fingerprint, spec.fingerprint)
                return replace(spec, encoder=self.id(spec.encoder), fingerprint=fingerprint)
            case ProbeSpec():
                train, test = map(self.id, spec.train_features), map(self.id, spec.test_features)
                return replace(spec, train_features=tuple(train), test_features=tuple(test))
        return spec


def reasons(nodes: Sequence[Node], store: Store) -> dict[str, str]:
    """A reason for each node that is to run, by id."""
    waiting = [node for node in nodes if node.state == "to_run"]
    if not waiting:
        return {}
    executed = store.executed()
    folders = {stage: set(store.ids(stage)) for stage in {node.stage for node in waiting}}
    pasts = list(_pasts(nodes, store)) if executed else []

    def reason(node: Node) -> str:
        there = node.id in folders[node.stage]
        if there and store.failure(node.stage, node.id) is not None:
            return "failed before"
        if there and (damage := store.damage(node.stage, node.id)):
            return damage
        if (node.stage, node.id) in executed:
            return "missing"
        for past in pasts:
            then = past.id(node.id)
            if then != node.id and (node.stage, then) in executed:
                return "version raised" if past.stage == node.stage else CHANGED
        return "new"

    return {node.id: reason(node) for node in waiting}


def _pasts(nodes: Sequence[Node], store: Store) -> Iterator[_Past]:
    by_id = {node.id: node for node in nodes}
    for stage, version in VERSIONS.items():
        for earlier in range(version - 1, 0, -1):
            yield _Past(by_id, stage=stage, version=earlier)
    prepares = [(node.id, cast(PrepareSpec, node.spec)) for node in nodes if node.stage == "prepare"]
    stored = list(store.manifests("prepare")) if prepares else []
    present = {manifest.id: str(manifest.outputs.get("fingerprint")) for manifest in stored}
    for id, spec in prepares:
        now = present.get(id, UNPREPARED + id)
        place = _without_signature(full_form(spec))
        for manifest in stored:
            then = str(manifest.outputs.get("fingerprint"))
            if manifest.id != id and then != now and _without_signature(manifest.spec) == place:
                yield _Past(by_id, fingerprints={now: then}, prepares={id: manifest.id})


def _without_signature(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key != "signature"}
