"""The stage ``pretrain``: train an encoder on a pool of images, or make one without training."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ssl_sweep.data_ops.dataset.pool import ImagePool
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.ssl_core.config.registry import TWO_VIEWS
from ssl_sweep.sweep.execution.runtime import Runtime, TrainPlan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.specs import PretrainSpec
from ssl_sweep.sweep.stages.context import StageInterrupted, device_of
from ssl_sweep.sweep.stages.data import training_images, watched_slice
from ssl_sweep.sweep.stages.encoder_card import encoder_facts
from ssl_sweep.sweep.stages.inputs import Inputs
from ssl_sweep.sweep.store.provenance import run_record
from ssl_sweep.sweep.util.files import whole

if TYPE_CHECKING:
    from ssl_sweep.ssl_core.training.reporter import Reporter

CONTACT_SHEET = "images.png"
"""Saved with an encoder: some of its training images, corrupted and as views."""
SUBSET = "subset.npy"
"""Saved with an encoder: the ids of its training images."""


def pretrain(
    stage: PlannedStage,
    spec: PretrainSpec,
    runtime: Runtime,
    plan: TrainPlan,
    reporter: Reporter,
) -> bool:
    """Train an encoder and commit it. Every worker of the group calls this; rank 0 writes.

    Returns:
        False if another process committed the stage first.

    Raises:
        StageInterrupted: the training stopped on request, after saving a checkpoint.
    """
    from ssl_sweep.ssl_core.distributed import rank
    from ssl_sweep.ssl_core.methods.build import method_class
    from ssl_sweep.ssl_core.training import trainer
    from ssl_sweep.ssl_core.training.encoder_files import add_to_card

    store = runtime.open_store()
    folder = store.path("pretrain", stage.id)
    started = time.time()
    device = device_of(runtime)
    images = training_images(spec, runtime, store)
    labels = images.labels() if method_class(spec.config.method).labelled else (None, 0)
    data = trainer.TrainingImages(images, images.keys, *labels)
    if rank() == 0:
        _describe(images, spec, folder)
    watched = watched_slice(spec, runtime, store) if runtime.training.watch_knn else None
    options = trainer.RuntimeOptions(
        **vars(runtime.training), device=device, threads=max(1, round(plan.cpus)), watched=watched
    )
    try:
        summary = trainer.pretrain(spec.config, data, folder, reporter, options)
    except trainer.Interrupted as error:
        raise StageInterrupted from error
    if rank() != 0:
        return True
    record = run_record(
        started,
        gpu=device == "cuda",
        workers=plan.workers,
        mode="in-process" if plan.in_process else "workers",
        backend=summary.backend,
        predicted_s=plan.predicted_s,
        predicted_from=plan.predicted_from,
    )
    outputs = asdict(summary)
    add_to_card(folder, {"pretrain_id": stage.id, **encoder_facts(spec, outputs)})
    executed = store.commit("pretrain", stage.id, spec, stage.upstream, outputs, record)
    store.drop_checkpoint("pretrain", stage.id)  # nothing reads the optimiser's state any more
    return executed


def _describe(images: ImagePool, spec: PretrainSpec, folder: Path) -> None:
    """Write down which images the network will see, and show some of them as views."""
    from ssl_sweep.data_ops.contact_sheet import training_sheet

    config = spec.config
    policies = [config.views, config.views2 or config.views][: 2 if config.method in TWO_VIEWS else 1]
    with whole(folder / SUBSET) as partial, partial.open("wb") as file:
        np.save(file, images.ids())
    with whole(folder / CONTACT_SHEET) as partial:
        partial.write_bytes(training_sheet(images, policies, spec.config.seed))


def initialise(stage: PlannedStage, spec: PretrainSpec, inputs: Inputs) -> bool:
    """Commit an encoder that is not trained here; False if another process committed it first.

    Its weights are either given, or random with batch statistics from the images of the pool.

    Raises:
        DataError: the file with the given weights is unknown, or changed since the run was planned.
    """
    from ssl_sweep.ssl_core.encoders.given import load_weights
    from ssl_sweep.ssl_core.encoders.random import random_encoder
    from ssl_sweep.ssl_core.training.encoder_files import add_to_card, export_encoder

    started, runtime, store = time.time(), inputs.runtime, inputs.store
    facts: dict[str, str] = {}
    if spec.config.method == "weights":
        path = runtime.weights.get(spec.config.weights) or spec.config.weights
        if path.startswith("sha256:"):
            raise DataError(f"the store has no encoder with the weights {path}; give their file in the grid")
        given = load_weights(replace(spec.config, weights=path))
        planned = spec.config.weights.removeprefix("sha256:")
        if planned != spec.config.weights and not given.sha256.startswith(planned):
            raise DataError(f"{path} changed since the run was planned (sha256 {planned}…); run again")
        encoder, facts = given.encoder, {"sha256": given.sha256, "trained_on": given.trained_on}
    else:
        encoder = random_encoder(spec.config, training_images(spec, runtime, store))
    folder = store.path("pretrain", stage.id)
    export_encoder(encoder, spec.config, folder, facts)
    add_to_card(folder, {"pretrain_id": stage.id, **encoder_facts(spec, {})})
    return store.commit("pretrain", stage.id, spec, stage.upstream, facts, run_record(started))
