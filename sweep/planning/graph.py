"""From cells to the smallest graph of stages that answers them.

Encoders and probes are results, so each is made. Features and prepared images are made only if a stage that
is to run reads them: deleted ones of a finished sweep cost nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ssl_sweep.ssl_core.config.registry import FEATURES
from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.planning.cells import Cell, Pretraining
from ssl_sweep.sweep.planning.datasets import DatasetInfo
from ssl_sweep.sweep.planning.notes import Note
from ssl_sweep.sweep.planning.reasons import reasons
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.identity import full_form, spec_difference
from ssl_sweep.sweep.spec.specs import ANSWERS, STAGES, FeatureSpec, Stage
from ssl_sweep.sweep.spec.states import Reason, State
from ssl_sweep.sweep.store.store import Store

PLAN_SCHEMA_VERSION = 1
NOT_NEEDED: Reason = "not needed again"

__all__ = ["Plan", "PlannedStage", "plan"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """The stages of a grid's cells, and the state of each."""

    sweep: str
    cells: tuple[Cell, ...]
    stages: tuple[PlannedStage, ...]
    """In topological order."""
    cell_stages: Mapping[str, str]
    """Id of a cell → id of the stage that answers it."""
    notes: tuple[Note, ...] = ()
    """What a user should know before a run."""

    @cached_property
    def by_id(self) -> Mapping[str, PlannedStage]:
        """Each stage, by id."""
        return {stage.id: stage for stage in self.stages}

    @cached_property
    def to_run(self) -> tuple[PlannedStage, ...]:
        """The stages that are not complete."""
        return tuple(stage for stage in self.stages if stage.state == "to_run")

    @cached_property
    def prepares(self) -> tuple[PlannedStage, ...]:
        """Datasets to prepare. The ids of stages that need them are provisional until then."""
        return tuple(stage for stage in self.to_run if stage.kind == "prepare")

    @cached_property
    def pretrainings(self) -> tuple[PlannedStage, ...]:
        """Unique pretrainings, complete or not, without random and given encoders."""
        return tuple(stage for stage in self.stages if stage.trains)

    @cached_property
    def counts(self) -> Mapping[Stage, Mapping[State, int]]:
        """Number of stages of each kind in each state."""
        table: dict[Stage, dict[State, int]] = {}
        for kind in STAGES:
            table[kind] = {"complete": 0, "to_run": 0}
        for stage in self.stages:
            table[stage.kind][stage.state] += 1
        return table

    def to_json(self) -> dict[str, Any]:
        """What ``ssl-sweep plan --json`` prints."""
        return {
            "schema_version": PLAN_SCHEMA_VERSION,
            "sweep": self.sweep,
            "notes": [note.text for note in self.notes],
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
    notes: tuple[Note, ...] = (),
) -> Plan:
    """The stages of ``cells``, each with its state in ``store``. Reads the store and changes nothing.

    Raises:
        StoreError: the store has a stage with one of these ids, but with another spec.
    """
    cells = tuple(cells)
    stages = _needed([_with_state(stage, store) for stage in _stages(cells)])
    why = reasons(stages, store)
    stages = [s.with_state("to_run", why[s.id]) if s.state == "to_run" else s for s in stages]
    if _log.isEnabledFor(logging.INFO):
        _log_states(stages)
    return Plan(
        sweep=sweep,
        cells=cells,
        stages=tuple(stages),
        cell_stages={cell.id: cell.probe_id for cell in cells},
        notes=notes,
    )


def _needed(stages: list[PlannedStage]) -> list[PlannedStage]:
    """``stages`` in their order, complete those that nothing reads any more."""
    wanted = {id for s in stages if s.state == "to_run" and s.kind in ANSWERS for id in s.upstream}
    for i in reversed(range(len(stages))):
        stage = stages[i]
        if stage.state != "to_run" or stage.kind in ANSWERS:
            continue
        if stage.kind == "pretrain" or stage.provisional or stage.id in wanted:
            wanted.update(stage.upstream)
        else:
            stages[i] = stage.with_state("complete", NOT_NEEDED)
    return stages


def _log_states(stages: Iterable[PlannedStage]) -> None:
    """One line for each kind of stage, and at level DEBUG one for each stage."""
    counts: dict[Stage, Counter[str]] = {}
    for stage in stages:
        if stage.state == "to_run":
            decision = f"to run: {stage.reason}"
        else:
            decision = f"left out: {NOT_NEEDED}" if stage.reason == NOT_NEEDED else "taken from the store"
        counts.setdefault(stage.kind, Counter())[decision] += 1
        _log.debug("%s: %s", stage, decision)
    for kind, decisions in counts.items():
        _log.info("%s: %s", kind, ", ".join(f"{n:,} {decision}" for decision, n in decisions.most_common()))


@dataclass
class _Parts:
    """What the cells of a plan share, each once, by id and in the order of the cells."""

    datasets: dict[str, dict[str, DatasetInfo]] = field(default_factory=dict)
    """Id of a prepare stage → the datasets that it prepares, by name."""
    pretrainings: dict[str, Pretraining] = field(default_factory=dict)
    features: dict[str, tuple[FeatureSpec, Pretraining, Cell]] = field(default_factory=dict)
    answers: dict[str, Cell] = field(default_factory=dict)

    def add(self, cell: Cell) -> None:
        for info in cell.datasets:
            self.datasets.setdefault(info.prepare_id, {})[info.name] = info
        if cell.probe_id in self.answers:
            return
        self.answers[cell.probe_id] = cell
        for pretraining in cell.encoders:
            self.pretrainings.setdefault(pretraining.id, pretraining)
        for found in cell.features:
            for (id, feature), pretraining in zip(found.items(), cell.encoders, strict=bool(found)):
                self.features.setdefault(id, (feature, pretraining, cell))


def _stages(cells: tuple[Cell, ...]) -> Iterator[PlannedStage]:
    """Every stage of ``cells`` once, in topological order. Their states are not known yet."""
    parts = _Parts()
    for cell in cells:
        parts.add(cell)
    for id, by_name in parts.datasets.items():
        yield _prepare(id, by_name)
    for pretraining in parts.pretrainings.values():
        yield _pretrain(pretraining)
    for id, (feature, pretraining, cell) in parts.features.items():
        yield _features(id, feature, pretraining, cell)
    for id, cell in parts.answers.items():
        yield _answer(id, cell)


def _prepare(id: str, by_name: Mapping[str, DatasetInfo]) -> PlannedStage:
    names = tuple(sorted(by_name))
    spec = by_name[names[0]].prepare
    return PlannedStage.waiting(id, "prepare", spec, (), ", ".join(names), names, by_name.values())


def _pretrain(pretraining: Pretraining) -> PlannedStage:
    infos = pretraining.datasets
    names = tuple(sorted(info.name for info in infos))
    upstream = tuple(info.prepare_id for info in infos)
    label = pretraining.label
    return PlannedStage.waiting(pretraining.id, "pretrain", pretraining.spec, upstream, label, names, infos)


def _features(id: str, spec: FeatureSpec, pretraining: Pretraining, cell: Cell) -> PlannedStage:
    evaluation = cell.evaluation
    rare = [spec.corruption] if spec.corruption != "none" else []
    rare += [spec.representation] if spec.representation != FEATURES else []
    label = f"{pretraining.label} → {' '.join([evaluation.name, spec.split, *rare])}"
    upstream = (*spec.reads, evaluation.prepare_id)
    infos = (*pretraining.datasets, evaluation)
    return PlannedStage.waiting(id, "features", spec, upstream, label, (evaluation.name,), infos)


def _answer(id: str, cell: Cell) -> PlannedStage:
    evaluation = cell.evaluation
    upstream = cell.probe.reads if any(cell.features) else (*cell.probe.reads, evaluation.prepare_id)
    names = (evaluation.name,)
    return PlannedStage.waiting(id, cell.stage, cell.probe, upstream, cell.label, names, cell.datasets)


def _with_state(stage: PlannedStage, store: Store) -> PlannedStage:
    if stage.provisional and stage.kind != "prepare":
        return stage
    manifest = store.complete(stage.kind, stage.id)
    if manifest is None:
        return stage
    difference = spec_difference(manifest.spec, stage.spec)
    if difference:
        raise StoreError(
            f"{stage} in the store was made from a different spec:\n  " + "\n  ".join(difference),
            hint=f"if the change is intended, raise the VERSION of {stage.kind}; else choose another --store",
        )
    return stage.with_state("complete", "complete")
