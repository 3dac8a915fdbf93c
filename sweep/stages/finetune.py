"""The stage ``finetune``: train an encoder end to end on a label budget.

With a random encoder this is training from scratch.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ssl_sweep.data_ops.dataset.corruptions import parse_corruption
from ssl_sweep.data_ops.dataset.draws import Draws
from ssl_sweep.data_ops.dataset.pool import CorruptedImages
from ssl_sweep.data_ops.dataset.prepared import PreparedDataset
from ssl_sweep.sweep.execution.runtime import Runtime, TrainPlan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.files import CHECKPOINT
from ssl_sweep.sweep.spec.specs import FinetuneSpec
from ssl_sweep.sweep.stages.context import StageInterrupted, device_of
from ssl_sweep.sweep.stages.data import open_dataset
from ssl_sweep.sweep.stages.evaluate import evaluate
from ssl_sweep.sweep.stages.label_budget import budget_rows
from ssl_sweep.sweep.stages.reporter import keep_checkpoint
from ssl_sweep.sweep.store.provenance import run_record

if TYPE_CHECKING:
    from ssl_sweep.ssl_core.training.reporter import Reporter


def finetune(
    stage: PlannedStage,
    spec: FinetuneSpec,
    runtime: Runtime,
    plan: TrainPlan,
    reporter: Reporter,
) -> bool:
    """Fine-tune an encoder, evaluate it and commit the stage.

    It resumes from the checkpoint in the stage's folder, which is removed after the commit.

    Returns:
        False if another process committed the stage first.

    Raises:
        StageInterrupted: the training stopped on request, after saving a checkpoint.
    """
    import torch

    from ssl_sweep.ssl_core.evaluation import finetune as core
    from ssl_sweep.ssl_core.training.encoder_files import load_encoder
    from ssl_sweep.ssl_core.training.trainer import Interrupted

    started = time.time()
    device = device_of(runtime)
    torch.set_num_threads(max(1, round(plan.cpus)))
    store = runtime.open_store()
    data = open_dataset(runtime, store, spec.fingerprint)
    rows = budget_rows(spec, data)
    groups = data.groups("train")
    budget = core.LabelBudget(
        images=data.images("train"),
        keys=data.keys("train")[rows],
        labels=data.labels("train", spec.level or None)[rows],
        rows=rows,
        groups=None if groups is None else groups[rows],
    )
    saved = store.checkpoint("finetune", stage.id)
    folder = saved.parent if saved is not None else (store.path("finetune", stage.id) / CHECKPOINT).parent
    try:
        fit = core.finetune(
            load_encoder(store.fetch("pretrain", spec.encoder)),
            budget,
            _test_images(spec, data),
            n_classes=data.manifest.n_classes(spec.level or None),
            seed=spec.seed,
            config=spec.config,
            device=device,
            backend=runtime.training.backend,
            activation_checkpointing=runtime.training.activation_checkpointing,
            watched=core.Supervision(
                stop=reporter.stop_requested,
                folder=folder,
                checkpoint_every_s=runtime.training.checkpoint_every_s,
                kept=lambda: keep_checkpoint(store, "finetune", stage.id),
            ),
        )
    except Interrupted as error:
        raise StageInterrupted from error
    facts: dict[str, Any] = {"learning_rate": fit.learning_rate, "steps": fit.steps}
    facts |= {"converged": fit.converged, "precision": fit.precision, "fit_seconds": fit.seconds}
    facts |= {"missing_classes": list(fit.missing_classes)}
    facts |= {"untested": Draws(data).untested(spec.level, rows)}
    outputs = evaluate(stage.id, data, spec.level, fit.top5, store) | facts
    record = run_record(started, gpu=device == "cuda", mode="in-process")
    executed = store.commit("finetune", stage.id, spec, stage.upstream, outputs, record)
    store.drop_checkpoint("finetune", stage.id)
    return executed


def _test_images(spec: FinetuneSpec, data: PreparedDataset) -> CorruptedImages:
    corruption = parse_corruption(spec.corruption)
    return CorruptedImages(data.images("test"), data.keys("test"), corruption, spec.corruption_seed)
