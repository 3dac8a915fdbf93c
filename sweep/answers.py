"""The stages that answer cells: a label budget is drawn, a classifier made of it, all test images judged."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from data_ops.corruptions import parse_corruption
from data_ops.dataset import PreparedDataset
from data_ops.pool import CorruptedImages
from data_ops.subsets import Positions, label_budget
from sweep.files import whole
from sweep.inputs import open_dataset
from sweep.nodes import Node
from sweep.provenance import run_record
from sweep.runtime import Runtime
from sweep.specs import Answer, FinetuneSpec, ProbeSpec
from sweep.store import Store


def probe(node: Node, spec: ProbeSpec, runtime: Runtime, store: Store, inputs: dict[str, Any]) -> None:
    """Logistic regression on features. ``inputs`` keeps those of a batch's last probe for the next one."""
    from ssl_core.evaluation.linear import fit_linear_probe

    started = time.time()
    x_train, x_test, data = _features(spec, runtime, store, inputs)
    drawn = _budget(spec, data)
    groups = data.groups("train")
    fit = fit_linear_probe(
        x_train[drawn],
        data.labels("train")[drawn],
        x_test,
        n_classes=data.manifest.n_classes(),
        seed=spec.seed,
        config=spec.config,
        groups=None if groups is None else groups[drawn],
    )
    facts = {"C": fit.C, "converged": fit.converged, "n_iter": fit.n_iter}
    outputs = _judged(node, data, fit.top5, store) | facts | {"missing_classes": list(fit.missing_classes)}
    store.commit("probe", node.id, spec, node.upstream, outputs, run_record(started))


def finetune(
    node: Node, spec: FinetuneSpec, runtime: Runtime, device: str, threads: int, stop: Callable[[], bool]
) -> None:
    """The encoder trained on, end to end; on a random encoder, training from scratch. Goes on from the
    checkpoint in the stage's folder, which is there until the commit."""
    import torch

    from ssl_core.checkpoint import load_encoder
    from ssl_core.finetune import LabelBudget, Supervision
    from ssl_core.finetune import finetune as train_on

    started = time.time()
    torch.set_num_threads(threads)
    store = runtime.open_store()
    data = open_dataset(runtime, store, spec.fingerprint)
    drawn = _budget(spec, data)
    groups = data.groups("train")
    budget = LabelBudget(
        images=data.images("train"),
        keys=data.keys("train")[drawn],
        labels=data.labels("train")[drawn],
        rows=drawn,
        groups=None if groups is None else groups[drawn],
    )
    checkpoint = store.path("finetune", node.id) / "checkpoint"
    fit = train_on(
        load_encoder(store.path("pretrain", spec.encoder)),
        budget,
        _test_images(spec, data),
        n_classes=data.manifest.n_classes(),
        seed=spec.seed,
        config=spec.config,
        device=device,
        backend=runtime.backend,
        activation_checkpointing=runtime.activation_checkpointing,
        watched=Supervision(stop=stop, folder=checkpoint, checkpoint_every_s=runtime.checkpoint_every_s),
    )
    facts: dict[str, Any] = {"learning_rate": fit.learning_rate, "steps": fit.steps}
    facts |= {"converged": fit.converged, "precision": fit.precision, "fit_seconds": fit.seconds}
    outputs = _judged(node, data, fit.top5, store) | facts | {"missing_classes": list(fit.missing_classes)}
    record = run_record(started, gpu=device == "cuda", mode="in-process")
    store.commit("finetune", node.id, spec, node.upstream, outputs, record)
    shutil.rmtree(checkpoint, ignore_errors=True)


def _budget(spec: Answer, data: PreparedDataset) -> Positions:
    """Rows of the images whose labels may be used, ascending."""
    keys, labels = data.keys("train"), data.labels("train")
    return np.sort(
        label_budget(keys, labels, spec.n_labels, spec.seed, draw=spec.draw, imbalance=spec.imbalance)
    )


def _test_images(spec: FinetuneSpec, data: PreparedDataset) -> CorruptedImages:
    corruption = parse_corruption(spec.corruption)
    return CorruptedImages(data.images("test"), data.keys("test"), corruption, spec.corruption_seed)


def _features(
    spec: ProbeSpec, runtime: Runtime, store: Store, inputs: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray, PreparedDataset]:
    key = f"{spec.train_features}/{spec.test_features}"
    if key not in inputs:
        inputs.clear()
        arrays = []
        for feature_id in (spec.train_features, spec.test_features):
            arrays.append(np.load(store.path("features", feature_id) / "x.npy", mmap_mode="r"))
        manifest = store.complete("features", spec.test_features)
        assert manifest is not None
        data = open_dataset(runtime, store, manifest.spec["fingerprint"])
        inputs[key] = (*arrays, data)
    found: tuple[np.ndarray, np.ndarray, PreparedDataset] = inputs[key]
    return found


def _judged(node: Node, data: PreparedDataset, top5: np.ndarray, store: Store) -> dict[str, Any]:
    """Writes the predictions; the metrics of every level, coarser ones by mapping predictions up."""
    from ssl_core.evaluation.metrics import map_up, score

    manifest, y_test = data.manifest, data.labels("test")
    levels = {manifest.levels[0]: asdict(score(y_test, top5, manifest.n_classes()))}
    for level, parents in zip(manifest.levels[1:], manifest.parents, strict=True):
        ranked = map_up(top5, np.asarray(parents))
        levels[level] = asdict(score(data.labels("test", level), ranked, manifest.n_classes(level)))
    _write_predictions(store.predictions(node.id), data.ids("test"), y_test, top5)
    return {"levels": levels}


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
