"""The stages that answer cells: a label budget is drawn, a classifier made of it, all test images judged."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ssl_sweep.data_ops.dataset.corruptions import parse_corruption
from ssl_sweep.data_ops.dataset.pool import CorruptedImages, leaked
from ssl_sweep.data_ops.dataset.prepared import PreparedDataset
from ssl_sweep.data_ops.dataset.subsets import Positions, label_budget
from ssl_sweep.ssl_core.config.pretrain import KnnConfig, ProbeConfig
from ssl_sweep.sweep.execution.runtime import Runtime
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.files import CHECKPOINT
from ssl_sweep.sweep.spec.specs import Answer, FinetuneSpec, ProbeSpec
from ssl_sweep.sweep.stages.data import open_dataset
from ssl_sweep.sweep.stages.reporter import keep_checkpoint
from ssl_sweep.sweep.store.provenance import run_record
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.util.files import whole


class ProbeInputs:
    """The features of the last probe of a batch, kept for the next one: they are checked once."""

    def __init__(self, runtime: Runtime, store: Store) -> None:
        self._runtime, self._store = runtime, store
        self._key: tuple[str, ...] = ()

    def open(self, spec: ProbeSpec) -> None:
        """Afterwards `train` and `test` are the features of `spec`, `data` is the dataset they are of."""
        from ssl_sweep.ssl_core.evaluation.fusion import FusedFeatures
        from ssl_sweep.ssl_core.evaluation.linear import LinearProbes

        key = (*spec.train_features, *spec.test_features)
        if key == self._key:
            return
        manifest = self._store.complete("features", spec.test_features[0])
        assert manifest is not None
        self.data = open_dataset(self._runtime, self._store, manifest.spec["fingerprint"])
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
    """A classifier on features, committed; False where another process was first."""
    from ssl_sweep.ssl_core.evaluation.knn import fit_knn

    started, gpu = time.time(), False
    inputs.open(spec)
    data, drawn = inputs.data, budget_rows(spec, inputs.data)
    level = spec.level or None
    labels, n_classes = data.labels("train", level)[drawn], data.manifest.n_classes(level)
    match spec.config:
        case ProbeConfig() as config:
            groups, gpu = data.groups("train"), inputs.linear.device.startswith("cuda")
            fit = inputs.linear.fit(
                drawn,
                labels,
                n_classes=n_classes,
                seed=spec.seed,
                config=config,
                groups=None if groups is None else groups[drawn],
            )
            facts: dict[str, Any] = {"C": fit.C, "converged": fit.converged, "n_iter": fit.n_iter}
            top5, missing = fit.top5, fit.missing_classes
        case KnnConfig() as config:
            near = fit_knn(inputs.train, labels, inputs.test, n_classes=n_classes, config=config, rows=drawn)
            facts, top5, missing = {"k": near.k}, near.top5, near.missing_classes
    outputs = _judged(stage, data, spec.level, top5, store) | facts | {"missing_classes": list(missing)}
    return store.commit("probe", stage.id, spec, stage.upstream, outputs, run_record(started, gpu=gpu))


def finetune(
    stage: PlannedStage,
    spec: FinetuneSpec,
    runtime: Runtime,
    device: str,
    threads: int,
    stop: Callable[[], bool],
) -> bool:
    """The encoder trained on, end to end; on a random encoder, training from scratch. Goes on from the
    checkpoint in the stage's folder, which is there until the commit."""
    import torch

    from ssl_sweep.ssl_core.evaluation.finetune import LabelBudget, Supervision
    from ssl_sweep.ssl_core.evaluation.finetune import finetune as train_on
    from ssl_sweep.ssl_core.training.checkpoint import load_encoder

    started = time.time()
    torch.set_num_threads(threads)
    store = runtime.open_store()
    data = open_dataset(runtime, store, spec.fingerprint)
    drawn = budget_rows(spec, data)
    groups = data.groups("train")
    budget = LabelBudget(
        images=data.images("train"),
        keys=data.keys("train")[drawn],
        labels=data.labels("train", spec.level or None)[drawn],
        rows=drawn,
        groups=None if groups is None else groups[drawn],
    )
    left = store.checkpoint("finetune", stage.id)
    folder = left.parent if left is not None else (store.path("finetune", stage.id) / CHECKPOINT).parent
    fit = train_on(
        load_encoder(store.fetch("pretrain", spec.encoder)),
        budget,
        _test_images(spec, data),
        n_classes=data.manifest.n_classes(spec.level or None),
        seed=spec.seed,
        config=spec.config,
        device=device,
        backend=runtime.backend,
        activation_checkpointing=runtime.activation_checkpointing,
        watched=Supervision(
            stop=stop,
            folder=folder,
            checkpoint_every_s=runtime.checkpoint_every_s,
            kept=lambda: keep_checkpoint(store, "finetune", stage.id),
        ),
    )
    facts: dict[str, Any] = {"learning_rate": fit.learning_rate, "steps": fit.steps}
    facts |= {"converged": fit.converged, "precision": fit.precision, "fit_seconds": fit.seconds}
    facts |= {"missing_classes": list(fit.missing_classes)}
    outputs = _judged(stage, data, spec.level, fit.top5, store) | facts
    record = run_record(started, gpu=device == "cuda", mode="in-process")
    executed = store.commit("finetune", stage.id, spec, stage.upstream, outputs, record)
    store.drop_checkpoint("finetune", stage.id)
    return executed


def budget_rows(spec: Answer, data: PreparedDataset) -> Positions:
    """Rows of the images whose labels may be used, ascending."""
    keys, labels = data.keys("train"), data.labels("train")
    if spec.without_copies:
        labels = np.where(leaked(data, [data]), -1, labels)
    return np.sort(
        label_budget(keys, labels, spec.n_labels, spec.seed, draw=spec.draw, imbalance=spec.imbalance)
    )


def _test_images(spec: FinetuneSpec, data: PreparedDataset) -> CorruptedImages:
    corruption = parse_corruption(spec.corruption)
    return CorruptedImages(data.images("test"), data.keys("test"), corruption, spec.corruption_seed)


def _judged(
    stage: PlannedStage, data: PreparedDataset, level: str, top5: np.ndarray, store: Store
) -> dict[str, Any]:
    """Writes the predictions; the metrics of the level learnt and, by mapping predictions up, of the coarser
    ones."""
    from ssl_sweep.ssl_core.evaluation.metrics import level_scores

    manifest = data.manifest
    trained = manifest.levels.index(level) if level else 0
    scores = level_scores(
        top5,
        trained=trained,
        labels=[data.labels("test", name) for name in manifest.levels],
        parents=[np.asarray(parents) for parents in manifest.parents],
        n_classes=[manifest.n_classes(name) for name in manifest.levels],
    )
    _write_predictions(
        store.predictions(stage.id), data.ids("test"), data.labels("test", manifest.levels[trained]), top5
    )
    names = manifest.levels[trained:]
    return {"levels": {name: asdict(found) for name, found in zip(names, scores, strict=True)}}


def _write_predictions(path: Path, ids: np.ndarray, y: np.ndarray, top5: np.ndarray) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "image_id": pa.array([str(i) for i in ids]),
            "y": pa.array(y, pa.int32()),
            "top5": pa.FixedSizeListArray.from_arrays(
                pa.array(np.ascontiguousarray(top5, np.int32).ravel()), top5.shape[1]
            ),
        }
    )
    with whole(path) as partial:
        pq.write_table(table, partial, compression="zstd")
