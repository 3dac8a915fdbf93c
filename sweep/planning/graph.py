"""From cells to the smallest graph of stages that answers them.

Encoders and probes are results and are wanted for themselves. Features and prepared images are made only
where a stage that is to run reads them: deleted ones of a finished sweep cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ssl_sweep.ssl_core.config.registry import FEATURES
from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.planning.cells import Cell, Pretraining
from ssl_sweep.sweep.planning.datasets import DatasetInfo
from ssl_sweep.sweep.planning.reasons import CHANGED, reasons
from ssl_sweep.sweep.planning.stages import PlannedStage, State
from ssl_sweep.sweep.spec.identity import full_form, spec_difference
from ssl_sweep.sweep.spec.specs import ANSWERS, STAGES, FeatureSpec, FinetuneSpec, ProbeSpec, Stage
from ssl_sweep.sweep.store.store import Store

PLAN_SCHEMA_VERSION = 1
DAMAGED = "damaged: "
"""How a note on a damaged dataset begins."""

__all__ = ["Plan", "PlannedStage", "State", "plan"]


@dataclass(frozen=True)
class Plan:
    """`nodes` in topological order, `cell_stages` from a cell's id to that of the stage that answers it;
    `notes` are worth knowing before a run."""

    sweep: str
    cells: tuple[Cell, ...]
    stages: tuple[PlannedStage, ...]
    cell_stages: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @cached_property
    def by_id(self) -> Mapping[str, PlannedStage]:
        return {stage.id: stage for stage in self.stages}

    @cached_property
    def to_run(self) -> tuple[PlannedStage, ...]:
        return tuple(stage for stage in self.stages if stage.state == "to_run")

    @cached_property
    def prepares(self) -> tuple[PlannedStage, ...]:
        """Datasets to prepare; the rest of the plan is provisional until they are."""
        return tuple(stage for stage in self.to_run if stage.kind == "prepare")

    @cached_property
    def moved(self) -> str:
        """What to do about datasets whose files are others than when they were prepared, '' without any."""
        names = [name for stage in self.prepares if stage.reason == CHANGED for name in stage.datasets]
        if not names:
            return ""
        return (
            f"The files of {', '.join(names)} changed, or were copied, since they were prepared."
            " What the store has counts again where the images are the same:"
            " ssl-sweep data prepare GRID compares them."
        )

    @cached_property
    def unread(self) -> str:
        """Why datasets that were prepared are to be prepared again, '' without any; what rests on them counts
        as not done until then."""
        harmed = [note for note in self.notes if note.startswith(DAMAGED)]
        return "\n".join([*harmed, self.moved] if self.moved else harmed)

    @cached_property
    def pretrainings(self) -> tuple[PlannedStage, ...]:
        """Unique pretrainings, complete or not; random encoders are none."""
        return tuple(stage for stage in self.stages if stage.trains)

    @cached_property
    def counts(self) -> Mapping[Stage, Mapping[State, int]]:
        """Number of nodes by stage and state."""
        table: dict[Stage, dict[State, int]] = {}
        for kind in STAGES:
            table[kind] = {"complete": 0, "to_run": 0}
        for stage in self.stages:
            table[stage.kind][stage.state] += 1
        return table

    def to_json(self) -> dict[str, Any]:
        """What `ssl-sweep plan --json` prints."""
        return {
            "schema_version": PLAN_SCHEMA_VERSION,
            "sweep": self.sweep,
            "notes": list(self.notes),
            "cells": len(self.cells),
            "stages": len(self.stages),
            "pretrainings": len(self.pretrainings),
            "to_run": len(self.to_run),
            "complete": sum(stage.state == "complete" for stage in self.stages),
            "nodes": [
                {
                    "id": stage.id,
                    "stage": stage.kind,
                    "state": stage.state,
                    "reason": stage.reason,
                    "label": stage.label,
                    "upstream": list(stage.upstream),
                    "provisional": stage.provisional,
                    "spec": full_form(stage.spec),
                }
                for stage in self.stages
            ],
        }


def plan(
    cells: Iterable[Cell],
    store: Store,
    sweep: str = "",
    notes: tuple[str, ...] = (),
) -> Plan:
    """The stages of `cells`, each with its state in `store`. Reads the store, changes nothing.

    StoreError where a finished stage of the same id holds another spec than the one asked.
    """
    cells = tuple(cells)
    stages = [_with_state(stage, store) for stage in _stages(cells)]
    wanted = {
        id for stage in stages if stage.state == "to_run" and stage.kind in ANSWERS for id in stage.upstream
    }
    for i in reversed(range(len(stages))):
        stage = stages[i]
        if stage.state != "to_run" or stage.kind in ANSWERS:
            continue
        if stage.kind == "pretrain" or stage.provisional or stage.id in wanted:
            wanted.update(stage.upstream)
        else:
            stages[i] = stage.complete("not needed again")
    why = reasons(stages, store)
    return Plan(
        sweep=sweep,
        cells=cells,
        stages=tuple(replace(n, reason=why[n.id]) if n.state == "to_run" else n for n in stages),
        cell_stages={cell.id: cell.probe_id for cell in cells},
        notes=notes,
    )


def _stages(cells: tuple[Cell, ...]) -> Iterable[PlannedStage]:
    """Every stage of `cells` once, in topological order, states not known yet."""
    datasets: dict[str, dict[str, DatasetInfo]] = {}
    pretrainings: dict[str, Pretraining] = {}
    features: dict[str, tuple[FeatureSpec, Pretraining, Cell]] = {}
    answers: dict[str, Cell] = {}
    for cell in cells:
        for info in cell.datasets:
            datasets.setdefault(info.prepare_id, {})[info.name] = info
        if cell.probe_id in answers:
            continue
        answers[cell.probe_id] = cell
        for pretraining in cell.encoders:
            pretrainings.setdefault(pretraining.id, pretraining)
        if isinstance(cell.probe, FinetuneSpec):
            continue
        ids = (*cell.probe.train_features, *cell.probe.test_features)
        if all(id in features for id in ids):
            continue
        train, test = cell.feature_specs()
        for id, feature, pretraining in zip(ids, (*train, *test), cell.encoders * 2, strict=True):
            features[id] = (feature, pretraining, cell)
    for id, by_name in datasets.items():
        names = tuple(sorted(by_name))
        spec = by_name[names[0]].prepare
        yield PlannedStage.waiting(id, "prepare", spec, (), ", ".join(names), names, by_name.values())
    for id, pretraining in pretrainings.items():
        infos = pretraining.datasets
        names = tuple(sorted(info.name for info in infos))
        upstream = tuple(info.prepare_id for info in infos)
        yield PlannedStage.waiting(
            id, "pretrain", pretraining.spec, upstream, pretraining.label, names, infos
        )
    for id, (feature, pretraining, cell) in features.items():
        infos = (*pretraining.datasets, cell.evaluation)
        rare = [feature.corruption] if feature.corruption != "none" else []
        rare += [feature.representation] if feature.representation != FEATURES else []
        label = f"{pretraining.label} → {' '.join([cell.evaluation.name, feature.split, *rare])}"
        upstream = (feature.encoder, cell.evaluation.prepare_id)
        yield PlannedStage.waiting(id, "features", feature, upstream, label, (cell.evaluation.name,), infos)
    for id, cell in answers.items():
        infos, names = cell.datasets, (cell.evaluation.name,)
        match cell.probe:
            case ProbeSpec(train_features=train_ids, test_features=test_ids):
                upstream = (*train_ids, *test_ids)
                yield PlannedStage.waiting(id, "probe", cell.probe, upstream, cell.label, names, infos)
            case FinetuneSpec(encoder=encoder):
                upstream = (encoder, cell.evaluation.prepare_id)
                yield PlannedStage.waiting(id, "finetune", cell.probe, upstream, cell.label, names, infos)


def _with_state(stage: PlannedStage, store: Store) -> PlannedStage:
    if stage.provisional and stage.kind != "prepare":
        return stage
    manifest = store.complete(stage.kind, stage.id)
    if manifest is None:
        return stage
    difference = spec_difference(manifest.spec, stage.spec)
    if difference:
        raise StoreError(
            f"{stage.kind} {stage.id} in the store was made from another spec than the one asked:\n  "
            + "\n  ".join(difference),
            hint=f"if the change is meant, raise VERSIONS[{stage.kind!r}]; else use another --store",
        )
    return stage.complete("complete")
