"""Why a stage runs: the first of these reasons that applies, read from the store.

failed before     it left an error.json
damaged           its manifest cannot be read, or a file does not have the size that was committed
missing           it was finished once, and its manifest or some of its files are gone
version raised    the store has it under an earlier VERSION of its kind of stage
upstream changed  the store has it with an earlier version of a stage above, or earlier contents of a dataset
new               none of the above
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.sweep.planning.identities import Identities, StoredDraws
from ssl_sweep.sweep.spec.identity import full_form, stage_id
from ssl_sweep.sweep.spec.specs import (
    UNPREPARED,
    VERSIONS,
    Answer,
    FeatureSpec,
    FinetuneSpec,
    PrepareSpec,
    PretrainSpec,
    ProbeSpec,
    Spec,
    Stage,
)
from ssl_sweep.sweep.spec.states import Reason
from ssl_sweep.sweep.store.store import Store

if TYPE_CHECKING:
    from ssl_sweep.sweep.planning.stages import PlannedStage

CHANGED: Reason = "upstream changed"


@dataclass
class _Past:
    """The plan as it was with an earlier version of one kind of stage, or earlier contents of one dataset."""

    stages: Mapping[str, PlannedStage]
    kind: Stage | None = None
    version: int = 0
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """Present fingerprint → earlier one."""
    specs: Identities = field(default_factory=lambda: Identities({}))
    prepares: Mapping[str, str] = field(default_factory=dict)
    """Present id of a prepare stage → earlier one."""
    ids: dict[str, str] = field(default_factory=dict)
    """Present id of any stage → earlier one, as far as computed."""

    def id(self, id: str) -> str:
        """The earlier id of a stage."""
        if id not in self.ids:
            stage = self.stages.get(id)
            self.ids[id] = id if stage is None else self._id(stage)
        return self.ids[id]

    def _id(self, stage: PlannedStage) -> str:
        if stage.id in self.prepares:
            return self.prepares[stage.id]
        version = self.version if stage.kind == self.kind else None
        return stage_id(stage.kind, self._spec(stage.spec), version)

    def _spec(self, spec: Spec) -> Spec:
        try:
            return self._earlier(spec)
        except DataError:  # the earlier images were too few for this draw
            return spec

    def _earlier(self, spec: Spec) -> Spec:
        then = self.fingerprints
        match spec:
            case PretrainSpec() if any(part.fingerprint in then for part in spec.parts):
                parts = (replace(p, fingerprint=then.get(p.fingerprint, p.fingerprint)) for p in spec.parts)
                corruption = spec.corruption, spec.corruption_seed
                return self.specs.pretrain(spec.config, tuple(parts), *corruption)
            case FeatureSpec():
                encoder = self.id(spec.encoder)
                if spec.fingerprint not in then:
                    return replace(spec, encoder=encoder)
                how = spec.corruption, spec.representation, spec.corruption_seed
                return self.specs.features(encoder, then[spec.fingerprint], spec.split, *how)
            case FinetuneSpec():
                return replace(spec, encoder=self.id(spec.encoder), labels=self._labels(spec))
            case ProbeSpec():
                train, test = (tuple(map(self.id, ids)) for ids in (spec.train_features, spec.test_features))
                return replace(spec, train_features=train, test_features=test, labels=self._labels(spec))
        return spec

    def _labels(self, spec: Answer) -> str:
        if spec.fingerprint not in self.fingerprints:
            return spec.labels
        draw = spec.seed, spec.draw, spec.imbalance, spec.without_copies
        return self.specs.judged(self.fingerprints[spec.fingerprint], spec.level, spec.n_labels, *draw)


def reasons(stages: Sequence[PlannedStage], store: Store) -> dict[str, Reason]:
    """The reason of each stage that is to run, by id."""
    waiting = [stage for stage in stages if stage.state == "to_run"]
    if not waiting:
        return {}
    executed = store.executed()
    folders = {kind: set(store.ids(kind)) for kind in {stage.kind for stage in waiting}}
    pasts = list(_pasts(stages, store)) if executed else []

    def reason(stage: PlannedStage) -> Reason:
        there = stage.id in folders[stage.kind]
        if there and store.failure(stage.kind, stage.id) is not None:
            return "failed before"
        if there and (damage := store.damage(stage.kind, stage.id)):
            return damage
        if (stage.kind, stage.id) in executed:
            return "missing"
        for past in pasts:
            then = past.id(stage.id)
            if then != stage.id and (stage.kind, then) in executed:
                return "version raised" if past.kind == stage.kind else CHANGED
        return "new"

    return {stage.id: reason(stage) for stage in waiting}


def _pasts(stages: Sequence[PlannedStage], store: Store) -> Iterator[_Past]:
    by_id = {stage.id: stage for stage in stages}
    for kind, version in VERSIONS.items():
        for earlier in range(version - 1, 0, -1):
            yield _Past(by_id, kind=kind, version=earlier)
    prepares = [(stage.id, cast(PrepareSpec, stage.spec)) for stage in stages if stage.kind == "prepare"]
    stored = list(store.manifests("prepare")) if prepares else []
    specs = Identities(StoredDraws(store))
    present = {manifest.id: str(manifest.outputs.get("fingerprint")) for manifest in stored}
    for id, spec in prepares:
        now = present.get(id, UNPREPARED + id)
        place = _without_signature(full_form(spec))
        for manifest in stored:
            then = str(manifest.outputs.get("fingerprint"))
            if manifest.id != id and then != now and _without_signature(manifest.spec) == place:
                yield _Past(by_id, fingerprints={now: then}, prepares={id: manifest.id}, specs=specs)


def _without_signature(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key != "signature"}
