"""``ssl-sweep explain``: what a stage or cell is, why it ran or waits, and what it was made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from typing import Any

from ssl_sweep.ssl_core.config.probe import ProbeConfig
from ssl_sweep.ssl_core.config.registry import METHODS
from ssl_sweep.sweep.inspect.lineage import Known, Lineage
from ssl_sweep.sweep.inspect.logs import attempts_of
from ssl_sweep.sweep.inspect.lookup import Scope, Target
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.specs import (
    FeatureSpec,
    FinetuneSpec,
    PrepareSpec,
    PretrainSpec,
    ProbeSpec,
    Spec,
    Stage,
)
from ssl_sweep.sweep.spec.states import State
from ssl_sweep.sweep.store.leases import Holder, holders
from ssl_sweep.sweep.store.manifest import Failure, RunRecord

EXPLAIN_SCHEMA_VERSION = 1
_REASONS: Mapping[str, str] = {
    "new": "it never finished in this store",
    "missing": "it finished before, but its manifest or some of its files are gone",
    "damaged": "it finished before, but its manifest or one of its files is damaged",
    "failed before": "it failed and will run again",
    "version raised": "the store has its result from an earlier version of this kind of stage",
    "upstream changed": "the store has its result from earlier images or an earlier version of a stage above",
    "complete": "it is finished",
    "not needed again": "every stage that reads it is finished",
}


@dataclass(frozen=True)
class Relative:
    """A stage above this one, with those above it, or a stage below."""

    stage: Stage
    id: str
    state: State
    label: str
    upstream: tuple[Relative, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """All that is known about a stage."""

    stage: Stage
    id: str
    cell: str
    """Id of the cell that was asked for, '' if a stage was."""
    what: str
    """What the stage does, in words."""
    label: str
    state: State
    why: str
    """Why it ran, runs or waits."""
    settings: Mapping[str, Any]
    """Settings that differ from their defaults."""
    upstream: tuple[Relative, ...]
    dependants: tuple[Relative, ...]
    """Stages that read this one."""
    downstream: Mapping[Stage, int]
    """Kind → number of stages below it."""
    cells: tuple[str, ...]
    """Cells whose result depends on it."""
    files: Mapping[str, int]
    """Name → bytes."""
    run: RunRecord | None
    outputs: Mapping[str, Any]
    failure: Failure | None
    holder: Holder | None
    """The driver that holds its lease."""
    provisional: bool
    """Whether its id will change once its datasets are prepared."""

    def to_json(self) -> dict[str, Any]:
        """What ``ssl-sweep explain --json`` prints."""
        return {"schema_version": EXPLAIN_SCHEMA_VERSION, **asdict(self)}


def explain(scope: Scope, target: Target) -> Explanation:
    """Explain a stage from the store, and from the plan if there is one. Changes nothing."""
    store, plan = scope.store, scope.plan
    lineage = Lineage(store, plan)
    known = lineage.stages.get(target.id) or Known(target.stage, target.id, ())
    manifest = store.manifest(target.stage, target.id)
    spec = known.spec or (manifest.typed() if manifest else None)
    holder = holders(store.storage).get(f"{target.stage}-{target.id}")
    failure = store.failure(target.stage, target.id)
    state = lineage.state(target.id)
    below = lineage.dependants(target.id)
    stage = plan.by_id.get(target.id) if plan else None
    affected = {target.id, *(known.id for known in below)}
    return Explanation(
        stage=target.stage,
        id=target.id,
        cell=target.cell,
        what=in_words(target.stage, spec, manifest is not None),
        label=known.label,
        state=state,
        why=_why(known, lineage, stage, state, failure, holder),
        settings=differing(spec) if spec else {},
        upstream=tuple(_above(id, lineage, frozenset()) for id in known.upstream),
        dependants=tuple(
            Relative(k.stage, k.id, lineage.state(k.id), k.label) for k in below if target.id in k.upstream
        ),
        downstream=dict(Counter(k.stage for k in below)),
        cells=tuple(c for c, id in plan.cell_stages.items() if id in affected) if plan else (),
        files=manifest.files if manifest else {},
        run=manifest.run if manifest else None,
        outputs=manifest.outputs if manifest else {},
        failure=failure,
        holder=holder,
        provisional=stage is not None and stage.provisional,
    )


def _above(id: str, lineage: Lineage, seen: frozenset[str]) -> Relative:
    known = lineage.stages.get(id)
    if known is None:
        return Relative("prepare", id, "to_run", "not in this store")
    upstream = () if id in seen else known.upstream
    return Relative(
        known.stage,
        id,
        lineage.state(id),
        known.label or in_words(known.stage, known.spec),
        tuple(_above(up, lineage, seen | {id}) for up in upstream),
    )


def _why(
    known: Known,
    lineage: Lineage,
    stage: PlannedStage | None,
    state: State,
    failure: Failure | None,
    holder: Holder | None,
) -> str:
    """Say why a stage ran, runs or waits, in one or two sentences."""
    if state == "complete":
        return _REASONS.get(known.reason, _REASONS["complete"])
    if state == "running" and holder is not None:
        return f"driver {holder.driver} on {holder.host} has been running it since {holder.since}"
    if state == "failed" and failure is not None:
        return f"it failed ({attempts_of(failure)}): {failure.message}"
    if state == "blocked":
        failed = [up for up in known.upstream if lineage.state(up) in ("failed", "blocked")]
        return f"it waits for {_listed(failed, lineage)}; fix the failure, then retry the failed stage"
    why = _REASONS.get(known.reason) or "it is not finished in this store"
    waits = [up for up in known.upstream if lineage.state(up) != "complete"]
    provisional = "; its id will change once its datasets are prepared" if stage and stage.provisional else ""
    return f"{why}{provisional}" + (f"; it waits for {_listed(waits, lineage)}" if waits else "")


def _listed(ids: Sequence[str], lineage: Lineage) -> str:
    def named(id: str) -> str:
        kind = lineage.stages[id].stage if id in lineage.stages else "stage"
        return f"{kind} {id} ({lineage.state(id).replace('_', ' ')})"

    return ", ".join(map(named, ids[:4])) + (f" and {len(ids) - 4} more" if len(ids) > 4 else "")


def in_words(stage: Stage, spec: Spec | None, finished: bool = False) -> str:
    """Say what a stage does and what its identity is made of."""
    match spec:
        case PrepareSpec(source=source):
            kind = type(source).__name__.removesuffix("Source")
            return f"the images of a {kind} source, decoded and indexed at {spec.size} pixels"
        case PretrainSpec(config=config):
            made = f"{_title(config.method)}, {config.encoder}, {config.image_size} px"
            if config.method == "weights":
                return f"{made}, the given weights {config.weights}"
            images = f"these {sum(part.images for part in spec.parts):,} images (digest {spec.images[:10]})"
            images += f" with these labels (digest {spec.labels[:10]})" if spec.labels else ""
            if config.method == "random":
                return f"{made}, seed {config.seed}, batch statistics from {images}"
            length = f"steps: {config.steps:,}" if config.steps else f"epochs: {config.epochs:,}"
            recipe = f"{length}, batches of {config.batch:,}, seed {config.seed}"
            return f"{made}, {images}{_corrupted(spec)} ({recipe})"
        case FeatureSpec():
            images = f"these {spec.split} images (digest {spec.images[:10]}){_corrupted(spec)}"
            return f"features {spec.representation} of {images}, computed by encoder {spec.encoder}"
        case ProbeSpec(config=config):
            classifier = "linear" if isinstance(config, ProbeConfig) else f"{config.k}-nearest-neighbour"
            return f"a {classifier} classifier on features with {_labels(spec)}"
        case FinetuneSpec():
            return f"encoder {spec.encoder} fine-tuned with {_labels(spec)}{_corrupted(spec)}"
    if finished:
        return f"a {stage} stage with an id of an older form; ssl-sweep migrate gives it its new one"
    return f"a {stage} stage that never finished in this store; give its grid to see its settings"


def _title(method: str) -> str:
    return METHODS[method].title if method in METHODS else method


def _corrupted(spec: PretrainSpec | FeatureSpec | FinetuneSpec) -> str:
    return "" if spec.corruption == "none" else f", corrupted by {spec.corruption}"


def _labels(spec: ProbeSpec | FinetuneSpec) -> str:
    how = f"{spec.draw}, seed {spec.seed}"
    return f"{spec.n_labels:,} labels ({how}), tested on all test images (digest of both {spec.labels[:10]})"


def differing(value: Any, where: str = "") -> dict[str, Any]:
    """Return path → value of every setting of a spec that differs from its default, with upstream ids."""
    found: dict[str, Any] = {}
    for field in fields(value):
        item, path = getattr(value, field.name), f"{where}.{field.name}" if where else field.name
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if item == default:
            continue
        if is_dataclass(item):
            found |= differing(item, path)
        elif isinstance(item, tuple) and item and all(map(is_dataclass, item)):
            for i, part in enumerate(item):
                found |= differing(part, f"{path}[{i}]")
        else:
            found[path] = list(item) if isinstance(item, tuple) else item
    return found
