"""The stage ``probe``: fit a classifier on features of a label budget, as its protocol says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ssl_sweep.data_ops.dataset.draws import Draws
from ssl_sweep.sweep.execution.runtime import Runtime
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.protocols import protocol_of
from ssl_sweep.sweep.protocols.base import Budget, Made
from ssl_sweep.sweep.spec.specs import ProbeSpec
from ssl_sweep.sweep.stages.data import open_dataset
from ssl_sweep.sweep.stages.evaluate import evaluate
from ssl_sweep.sweep.stages.label_budget import budget_rows
from ssl_sweep.sweep.store.provenance import run_record
from ssl_sweep.sweep.store.store import Store


class ProbeInputs:
    """The features of the last probe of a batch. They stay open, so that equal inputs are checked once."""

    def __init__(self, runtime: Runtime, store: Store) -> None:
        self._runtime, self._store = runtime, store
        self._key: tuple[str, ...] = ()
        self._shared: dict[str, Any] = {}
        self.device = runtime.probe_device

    def open(self, spec: ProbeSpec) -> None:
        """Set ``train`` and ``test`` to the features that ``spec`` names, and ``data`` to their dataset."""
        from ssl_sweep.ssl_core.evaluation.fusion import FusedFeatures

        key = (*spec.train_features, *spec.test_features, spec.fingerprint)
        if key == self._key:
            return
        self.data = open_dataset(self._runtime, self._store, spec.fingerprint)
        self.train = FusedFeatures([self._array(id) for id in spec.train_features])
        self.test = FusedFeatures([self._array(id) for id in spec.test_features])
        self._shared.clear()
        self._key = key

    def shared(self, name: str, make: Callable[[], Made]) -> Made:
        """See ``protocols.base.Features``."""
        if name not in self._shared:
            self._shared[name] = make()
        made: Made = self._shared[name]
        return made

    def _array(self, id: str) -> np.ndarray:
        array: np.ndarray = np.load(
            self._store.fetch("features", id, ["x.npy"]) / "x.npy", mmap_mode="r", allow_pickle=False
        )
        return array


def probe(stage: PlannedStage, spec: ProbeSpec, inputs: ProbeInputs, store: Store) -> bool:
    """Fit and evaluate a classifier, and commit it; False if another process committed the stage first."""
    started = time.time()
    inputs.open(spec)
    data, rows = inputs.data, budget_rows(spec, inputs.data)
    level = spec.level or None
    labels, n_classes = data.labels("train", level)[rows], data.manifest.n_classes(level)
    groups = data.groups("train")
    budget = Budget(rows, labels, n_classes, spec.seed, None if groups is None else groups[rows])
    fit = protocol_of(spec.config).fit(spec.config, inputs, budget)
    scores = evaluate(stage.id, data, spec.level, fit.top5, store)
    outputs = {**scores, **fit.facts, "missing_classes": list(fit.missing)}
    outputs["untested"] = Draws(data).untested(spec.level, rows)
    return store.commit("probe", stage.id, spec, stage.upstream, outputs, run_record(started, gpu=fit.gpu))
