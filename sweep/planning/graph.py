"""From cells to the smallest graph of stages that answers them.

Encoders and probes are results and are wanted for themselves. Features and prepared images are made only
where a stage that is to run reads them: deleted ones of a finished sweep cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ssl_sweep.ssl_core.config.pretrain import FEATURES
from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.planning.cells import Cell, Pretraining
from ssl_sweep.sweep.planning.datasets import DatasetInfo
from ssl_sweep.sweep.planning.nodes import Node, State
from ssl_sweep.sweep.planning.reasons import CHANGED, reasons
from ssl_sweep.sweep.spec.identity import full_form, spec_difference
from ssl_sweep.sweep.spec.specs import ANSWERS, STAGES, FeatureSpec, FinetuneSpec, ProbeSpec, Stage
from ssl_sweep.sweep.store.store import Store

PLAN_SCHEMA_VERSION = 1
DAMAGED = "damaged: "
"""How a note on a damaged dataset begins."""

__all__ = ["Node", "Plan", "State", "plan"]


@dataclass(frozen=True)
class Plan:
    """`nodes` in topological order, `cell_nodes` from a cell's id to that of the stage that answers it;
    `notes` are worth knowing before a run."""

    sweep: str
    cells: tuple[Cell, ...]
    nodes: tuple[Node, ...]
    cell_nodes: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @cached_property
    def by_id(self) -> Mapping[str, Node]:
        return {node.id: node for node in self.nodes}

    @cached_property
    def to_run(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.state == "to_run")

    @cached_property
    def prepares(self) -> tuple[Node, ...]:
        """Datasets to prepare; the rest of the plan is provisional until they are."""
        return tuple(node for node in self.to_run if node.stage == "prepare")

    @cached_property
    def moved(self) -> str:
        """What to do about datasets whose files are others than when they were prepared, '' without any."""
        names = [name for node in self.prepares if node.reason == CHANGED for name in node.datasets]
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
    def pretrainings(self) -> tuple[Node, ...]:
        """Unique pretrainings, complete or not; random encoders are none."""
        return tuple(node for node in self.nodes if node.trains)

    @cached_property
    def counts(self) -> Mapping[Stage, Mapping[State, int]]:
        """Number of nodes by stage and state."""
        table: dict[Stage, dict[State, int]] = {}
        for stage in STAGES:
            table[stage] = {"complete": 0, "to_run": 0}
        for node in self.nodes:
            table[node.stage][node.state] += 1
        return table

    def to_json(self) -> dict[str, Any]:
        """What `ssl-sweep plan --json` prints."""
        return {
            "schema_version": PLAN_SCHEMA_VERSION,
            "sweep": self.sweep,
            "notes": list(self.notes),
            "cells": len(self.cells),
            "stages": len(self.nodes),
            "pretrainings": len(self.pretrainings),
            "to_run": len(self.to_run),
            "complete": sum(node.state == "complete" for node in self.nodes),
            "nodes": [
                {
                    "id": node.id,
                    "stage": node.stage,
                    "state": node.state,
                    "reason": node.reason,
                    "label": node.label,
                    "upstream": list(node.upstream),
                    "provisional": node.provisional,
                    "spec": full_form(node.spec),
                }
                for node in self.nodes
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
    nodes = [_with_state(node, store) for node in _nodes(cells)]
    wanted = {
        id for node in nodes if node.state == "to_run" and node.stage in ANSWERS for id in node.upstream
    }
    for i in reversed(range(len(nodes))):
        node = nodes[i]
        if node.state != "to_run" or node.stage in ANSWERS:
            continue
        if node.stage == "pretrain" or node.provisional or node.id in wanted:
            wanted.update(node.upstream)
        else:
            nodes[i] = node.complete("not needed again")
    why = reasons(nodes, store)
    return Plan(
        sweep=sweep,
        cells=cells,
        nodes=tuple(replace(n, reason=why[n.id]) if n.state == "to_run" else n for n in nodes),
        cell_nodes={cell.id: cell.probe_id for cell in cells},
        notes=notes,
    )


def _nodes(cells: tuple[Cell, ...]) -> Iterable[Node]:
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
        yield Node.waiting(id, "prepare", spec, (), ", ".join(names), names, by_name.values())
    for id, pretraining in pretrainings.items():
        infos = pretraining.datasets
        names = tuple(sorted(info.name for info in infos))
        upstream = tuple(info.prepare_id for info in infos)
        yield Node.waiting(id, "pretrain", pretraining.spec, upstream, pretraining.label, names, infos)
    for id, (feature, pretraining, cell) in features.items():
        infos = (*pretraining.datasets, cell.evaluation)
        rare = [feature.corruption] if feature.corruption != "none" else []
        rare += [feature.representation] if feature.representation != FEATURES else []
        label = f"{pretraining.label} → {' '.join([cell.evaluation.name, feature.split, *rare])}"
        upstream = (feature.encoder, cell.evaluation.prepare_id)
        yield Node.waiting(id, "features", feature, upstream, label, (cell.evaluation.name,), infos)
    for id, cell in answers.items():
        infos, names = cell.datasets, (cell.evaluation.name,)
        match cell.probe:
            case ProbeSpec(train_features=train_ids, test_features=test_ids):
                upstream = (*train_ids, *test_ids)
                yield Node.waiting(id, "probe", cell.probe, upstream, cell.label, names, infos)
            case FinetuneSpec(encoder=encoder):
                upstream = (encoder, cell.evaluation.prepare_id)
                yield Node.waiting(id, "finetune", cell.probe, upstream, cell.label, names, infos)


def _with_state(node: Node, store: Store) -> Node:
    if node.provisional and node.stage != "prepare":
        return node
    manifest = store.complete(node.stage, node.id)
    if manifest is None:
        return node
    difference = spec_difference(manifest.spec, node.spec)
    if difference:
        raise StoreError(
            f"{node.stage} {node.id} in the store was made from another spec than the one asked:\n  "
            + "\n  ".join(difference),
            hint=f"if the change is meant, raise VERSIONS[{node.stage!r}]; else use another --store",
        )
    return node.complete("complete")
