"""The stage ``probe``: fit a classifier on features of a label budget, as its protocol says."""

from __future__ import annotations

import time

from ssl_sweep.data_ops.dataset.draws import Draws
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.protocols import protocol_of
from ssl_sweep.sweep.protocols.base import Budget
from ssl_sweep.sweep.spec.specs import ProbeSpec
from ssl_sweep.sweep.stages.evaluate import evaluate
from ssl_sweep.sweep.stages.inputs import Inputs
from ssl_sweep.sweep.stages.label_budget import budget_rows
from ssl_sweep.sweep.store.provenance import run_record


def probe(stage: PlannedStage, spec: ProbeSpec, inputs: Inputs) -> bool:
    """Fit and evaluate a classifier, and commit it; False if another process committed the stage first."""
    started = time.time()
    inputs.open(spec)
    data, rows = inputs.data, budget_rows(spec, inputs.data)
    level = spec.level or None
    labels, n_classes = data.labels("train", level)[rows], data.manifest.n_classes(level)
    groups = data.groups("train")
    budget = Budget(rows, labels, n_classes, spec.seed, None if groups is None else groups[rows])
    fit = protocol_of(spec.config).fit(spec.config, inputs, budget)
    scores = evaluate(stage.id, data, spec.level, fit.top5, inputs.store)
    outputs = {**scores, **fit.facts, "missing_classes": list(fit.missing)}
    outputs["untested"] = Draws(data).untested(spec.level, rows)
    return inputs.store.commit(
        "probe", stage.id, spec, stage.upstream, outputs, run_record(started, gpu=fit.gpu)
    )
