"""The stage ``probe``: fit a linear or nearest-neighbour classifier on features of a label budget."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ssl_sweep.data_ops.dataset.draws import Draws
from ssl_sweep.ssl_core.config.probe import KnnConfig, ProbeConfig
from ssl_sweep.sweep.execution.runtime import Runtime
from ssl_sweep.sweep.planning.stages import PlannedStage
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

    def open(self, spec: ProbeSpec) -> None:
        """Set ``train`` and ``test`` to the features that ``spec`` names, and ``data`` to their dataset."""
        from ssl_sweep.ssl_core.evaluation.fusion import FusedFeatures
        from ssl_sweep.ssl_core.evaluation.linear import LinearProbes

        key = (*spec.train_features, *spec.test_features, spec.fingerprint)
        if key == self._key:
            return
        self.data = open_dataset(self._runtime, self._store, spec.fingerprint)
        self.train = FusedFeatures([self._array(id) for id in spec.train_features])
        self.test = FusedFeatures([self._array(id) for id in spec.test_features])
        self.linear = LinearProbes(self.train, self.test, device=self._runtime.probe_device)
        self._key = key

    def _array(self, id: str) -> np.ndarray:
        array: np.ndarray = np.load(
            self._store.fetch("features", id, ["x.npy"]) / "x.npy", mmap_mode="r", allow_pickle=False
        )
        return array


def probe(stage: PlannedStage, spec: ProbeSpec, inputs: ProbeInputs, store: Store) -> bool:
    """Fit and evaluate a classifier, and commit it; False if another process committed the stage first."""
    from ssl_sweep.ssl_core.evaluation.knn import fit_knn

    started, gpu = time.time(), False
    inputs.open(spec)
    data, rows = inputs.data, budget_rows(spec, inputs.data)
    level = spec.level or None
    labels, n_classes = data.labels("train", level)[rows], data.manifest.n_classes(level)
    match spec.config:
        case ProbeConfig() as config:
            groups, gpu = data.groups("train"), inputs.linear.device.startswith("cuda")
            fit = inputs.linear.fit(
                rows,
                labels,
                n_classes=n_classes,
                seed=spec.seed,
                config=config,
                groups=None if groups is None else groups[rows],
            )
            facts: dict[str, Any] = {"C": fit.C, "converged": fit.converged, "n_iter": fit.n_iter}
            top5, missing = fit.top5, fit.missing_classes
        case KnnConfig() as config:
            near = fit_knn(inputs.train, labels, inputs.test, n_classes=n_classes, config=config, rows=rows)
            facts, top5, missing = {"k": near.k}, near.top5, near.missing_classes
    scores = evaluate(stage.id, data, spec.level, top5, store)
    facts |= {"missing_classes": list(missing), "untested": Draws(data).untested(spec.level, rows)}
    return store.commit("probe", stage.id, spec, stage.upstream, scores | facts, run_record(started, gpu=gpu))
