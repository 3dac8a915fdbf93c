"""What each stage does, in any process: read its inputs from the store, work, commit. No Ray here.

A stage writes its files into its own folder and commits the manifest last; until then nobody looks at
them, and a stage that was killed is simply done again over what it left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ssl_sweep.data_ops.dataset.corruptions import parse_corruption
from ssl_sweep.data_ops.dataset.pool import CorruptedImages, ImagePool
from ssl_sweep.data_ops.dataset.prepared import DatasetManifest
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.preparation.prepare import prepare
from ssl_sweep.ssl_core.config.pretrain import FEATURES, HEAD_OUTPUT, TWO_VIEWS
from ssl_sweep.sweep.errors import DamagedError, StoreError
from ssl_sweep.sweep.execution.backend import Outcome
from ssl_sweep.sweep.execution.failures import failure_of
from ssl_sweep.sweep.execution.runtime import Runtime, TrainPlan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.identity import full_form
from ssl_sweep.sweep.spec.specs import FeatureSpec, FinetuneSpec, PrepareSpec, PretrainSpec, ProbeSpec
from ssl_sweep.sweep.stages.data import open_dataset, training_images, watched_slice
from ssl_sweep.sweep.stages.encoder_card import encoder_facts
from ssl_sweep.sweep.stages.evaluate import ProbeInputs, finetune, probe
from ssl_sweep.sweep.store.log import StageLog
from ssl_sweep.sweep.store.provenance import run_record
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.util.files import whole

if TYPE_CHECKING:
    from ssl_sweep.ssl_core.training.reporter import Reporter


CONTACT_SHEET = "images.png"
"""Beside an encoder: some of the images it was trained on, corrupted and as views."""
SUBSET = "subset.npy"
"""Beside an encoder: the ids of the images it was trained on."""


class StageInterrupted(Exception):
    """The stage stopped because it was asked to; it goes on from its checkpoint in the next run."""


def perform_light(stages: Sequence[PlannedStage], runtime: Runtime, threads: int = 1) -> list[Outcome]:
    """Do stages of one kind that share their input, one after the other, each committed as it ends.

    A stage that fails leaves its traceback in its log, and the others go on.
    """
    if stages[0].kind in ("pretrain", "features"):  # the others start sooner without torch
        import torch

        torch.set_num_threads(threads)
    store = runtime.open_store()
    outcomes: list[Outcome] = []
    inputs = ProbeInputs(runtime, store)
    for stage in stages:
        if runtime.stop_requested():
            outcomes.append(Outcome(stage.id, "interrupted"))
            continue
        try:
            executed = not _done(stage, store)
            if executed:
                executed = _perform(stage, runtime, store, inputs)
            outcomes.append(Outcome(stage.id, "complete", executed=executed))
        except StageInterrupted:
            outcomes.append(Outcome(stage.id, "interrupted"))
        except Exception as error:
            StageLog(store.path(stage.kind, stage.id)).error(error)
            with suppress(StoreError, OSError):
                store.share(stage.kind, stage.id)
            outcomes.append(Outcome(stage.id, "failed", failure_of(error)))
    return outcomes


def _done(stage: PlannedStage, store: Store) -> bool:
    """Whether somebody did the stage since it was planned. The planner has read more of a prepared dataset
    than a look sees: what is not as it was committed is withdrawn, to be done again."""
    if store.complete(stage.kind, stage.id) is None:
        return False
    if stage.kind == "prepare":
        try:
            store.fetch(stage.kind, stage.id)
        except DamagedError as error:
            StageLog(store.path(stage.kind, stage.id)).line(f"done again: {error}")
            store.withdraw(stage.kind, stage.id)
            return False
    return True


def _perform(stage: PlannedStage, runtime: Runtime, store: Store, inputs: ProbeInputs) -> bool:
    """False where another process committed the stage first."""
    match stage.spec:
        case PrepareSpec():
            return _prepare(stage.id, stage.spec, store, partial(_stop_between_chunks, runtime))[1]
        case PretrainSpec():
            return _initialise(stage, stage.spec, runtime, store)
        case FeatureSpec():
            return _extract(stage, stage.spec, runtime, store)
        case ProbeSpec():
            return probe(stage, stage.spec, inputs, store)
        case FinetuneSpec():
            raise TypeError(f"{stage.kind} is a training")


def _stop_between_chunks(runtime: Runtime, done: int, total: int) -> None:
    """What is decoded is kept for the next run."""
    if runtime.stop_requested():
        raise StageInterrupted


def prepare_dataset(
    id: str,
    spec: PrepareSpec,
    store: Store,
    on_progress: Callable[[int, int], None] | None = None,
    threads: int = 1,
) -> DatasetManifest:
    """Write a dataset's prepared copy and commit it; `on_progress(done, total)` in images."""
    return _prepare(id, spec, store, on_progress, threads)[0]


def _prepare(
    id: str,
    spec: PrepareSpec,
    store: Store,
    on_progress: Callable[[int, int], None] | None = None,
    threads: int = 1,
) -> tuple[DatasetManifest, bool]:
    started = time.time()
    manifest = prepare(spec.source, spec.size, store.path("prepare", id) / "data", on_progress, threads)
    return manifest, store.commit("prepare", id, spec, (), asdict(manifest), run_record(started))


def run_training(runtime: Runtime, stage: PlannedStage, plan: TrainPlan, reporter: Reporter) -> bool:
    """Train one encoder, or fine-tune one, and commit it (rank 0); every worker of the group calls this.
    False where another process committed it first.

    Raises:
        StageInterrupted: stopped on request, a pretraining after a checkpoint.
    """
    threads = max(1, round(plan.cpus))
    match stage.spec:
        case PretrainSpec():
            return _pretrain(runtime, stage, stage.spec, plan, reporter, threads)
        case FinetuneSpec():
            from ssl_sweep.ssl_core.training.trainer import Interrupted

            try:
                return finetune(
                    stage, stage.spec, runtime, _device(runtime), threads, reporter.stop_requested
                )
            except Interrupted as error:
                raise StageInterrupted from error
        case _:
            raise TypeError(f"{stage.kind} is no training")


def _pretrain(
    runtime: Runtime,
    stage: PlannedStage,
    spec: PretrainSpec,
    plan: TrainPlan,
    reporter: Reporter,
    threads: int,
) -> bool:
    from ssl_sweep.ssl_core.distributed import rank
    from ssl_sweep.ssl_core.export import add_to_card
    from ssl_sweep.ssl_core.methods import method_class
    from ssl_sweep.ssl_core.training.trainer import Interrupted, TrainingImages, pretrain

    store = runtime.open_store()
    folder = store.path("pretrain", stage.id)
    started = time.time()
    device = _device(runtime)
    images = training_images(spec, runtime, store)
    labels = images.labels() if method_class(spec.config.method).labelled else (None, 0)
    data = TrainingImages(images, images.keys, *labels)
    if rank() == 0:
        _describe(images, spec, folder)
    try:
        summary = pretrain(
            spec.config,
            data,
            folder,
            reporter,
            backend=runtime.backend,
            device=device,
            checkpoint_every_s=runtime.checkpoint_every_s,
            checkpoint_every_steps=runtime.checkpoint_every_steps,
            activation_checkpointing=runtime.activation_checkpointing,
            compile=runtime.compile,
            watched=watched_slice(spec, runtime, store) if runtime.watch_knn else None,
            threads=threads,
        )
    except Interrupted as error:
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
    add_to_card(folder, {"pretrain_id": stage.id, **encoder_facts(full_form(spec), outputs)})
    executed = store.commit("pretrain", stage.id, spec, stage.upstream, outputs, record)
    store.drop_checkpoint("pretrain", stage.id)  # the optimiser's state has no reader any more
    return executed


def _describe(images: ImagePool, spec: PretrainSpec, folder: Path) -> None:
    """What the network will see: which images, and for some their corruption and views."""
    from ssl_sweep.data_ops.training_sheet import training_sheet

    config = spec.config
    policies = [config.views, config.views2 or config.views][: 2 if config.method in TWO_VIEWS else 1]
    with whole(folder / SUBSET) as partial, partial.open("wb") as file:
        np.save(file, images.ids())
    with whole(folder / CONTACT_SHEET) as partial:
        partial.write_bytes(training_sheet(images, policies, spec.config.seed))


def _device(runtime: Runtime) -> str:
    """``cuda`` or ``cpu``; a GPU that was reserved and cannot be used is an error, not a slow training."""
    import torch

    if runtime.gpu and not torch.cuda.is_available():
        raise RuntimeError("a GPU was reserved and torch cannot use it; run `ssl-sweep doctor` on that node")
    return "cuda" if runtime.gpu else "cpu"


def _initialise(stage: PlannedStage, spec: PretrainSpec, runtime: Runtime, store: Store) -> bool:
    """An encoder without a pretraining: random, having seen only the images' batch statistics, or given."""
    from ssl_sweep.ssl_core.encoders.given import load_weights
    from ssl_sweep.ssl_core.encoders.random import random_encoder
    from ssl_sweep.ssl_core.export import add_to_card
    from ssl_sweep.ssl_core.training.checkpoint import export_encoder

    started = time.time()
    facts: dict[str, str] = {}
    if spec.config.method == "weights":
        path = runtime.weights.get(spec.config.weights) or spec.config.weights
        if path.startswith("sha256:"):
            raise DataError(f"the store has no encoder of the weights {path}; give their file in the grid")
        given = load_weights(replace(spec.config, weights=path))
        asked = spec.config.weights.removeprefix("sha256:")
        if asked != spec.config.weights and not given.sha256.startswith(asked):
            raise DataError(f"{path} is not the file that was planned with (sha256 {asked}…); run again")
        encoder, facts = given.encoder, {"sha256": given.sha256, "trained_on": given.trained_on}
    else:
        encoder = random_encoder(spec.config, training_images(spec, runtime, store))
    folder = store.path("pretrain", stage.id)
    export_encoder(encoder, spec.config, folder, facts)
    add_to_card(folder, {"pretrain_id": stage.id, **encoder_facts(full_form(spec), {})})
    return store.commit("pretrain", stage.id, spec, stage.upstream, facts, run_record(started))


def _extract(stage: PlannedStage, spec: FeatureSpec, runtime: Runtime, store: Store) -> bool:
    from ssl_sweep.ssl_core.evaluation.features import extract_features
    from ssl_sweep.ssl_core.training.checkpoint import load_encoder, load_head

    started = time.time()
    data = open_dataset(runtime, store, spec.fingerprint)
    folder = store.path("features", stage.id)
    trained = store.fetch("pretrain", spec.encoder)
    encoder = load_encoder(trained)
    head = load_head(trained) if spec.representation == HEAD_OUTPUT else None
    layer = "" if spec.representation in (FEATURES, HEAD_OUTPUT) else spec.representation
    device = _device(runtime)
    with whole(folder / "x.npy") as partial:
        images = CorruptedImages(
            data.images(spec.split),
            data.keys(spec.split),
            parse_corruption(spec.corruption),
            spec.corruption_seed,
        )
        shape = extract_features(encoder, images, partial, device=device, layer=layer, head=head)
    with whole(folder / "ids.npy") as partial, partial.open("wb") as file:
        np.save(file, data.ids(spec.split))
    return store.commit(
        "features",
        stage.id,
        spec,
        stage.upstream,
        {"shape": list(shape)},
        run_record(started, gpu=device == "cuda"),
    )
