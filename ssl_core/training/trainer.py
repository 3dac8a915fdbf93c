"""The training loop: one code path for one worker or many, fresh or resumed, CPU or GPU."""

from __future__ import annotations

import dataclasses
import logging
import math
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from inspect import signature
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ssl_sweep.data_ops.hashing import derive_seed
from ssl_sweep.data_ops.views.backend import ViewBackend, choose_views
from ssl_sweep.data_ops.views.device_images import on_device
from ssl_sweep.data_ops.views.loader import ViewBatch, ViewLoader
from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.distributed import convert_batchnorm, rank, world_size
from ssl_sweep.ssl_core.encoders.build import torch_seed
from ssl_sweep.ssl_core.methods.base import StepOutput
from ssl_sweep.ssl_core.methods.build import build_method, method_class
from ssl_sweep.ssl_core.training.checkpoint import (
    Checkpoint,
    CheckpointClock,
    Progress,
    load_checkpoint,
    save_checkpoint,
)
from ssl_sweep.ssl_core.training.data import (
    TrainingImages,
    check_inputs,
    schedule,
    training_identity,
    with_neutral_fields,
)
from ssl_sweep.ssl_core.training.encoder_files import export_encoder
from ssl_sweep.ssl_core.training.memory import OutOfMemory, checkpoint_blocks, memory_guard
from ssl_sweep.ssl_core.training.optim import build_optimizer, fast_bfloat16, learning_rate_at
from ssl_sweep.ssl_core.training.options import DEFAULT_OPTIONS, RuntimeOptions, TrainSummary
from ssl_sweep.ssl_core.training.passes import GraphedPasses, Passes
from ssl_sweep.ssl_core.training.pending import DivergedError, PendingLosses
from ssl_sweep.ssl_core.training.reporter import EpochRecord, Reporter
from ssl_sweep.ssl_core.training.watch import FeatureWatch, knn_accuracy

__all__ = [
    "DEFAULT_OPTIONS",
    "DivergedError",
    "Interrupted",
    "OutOfMemory",
    "RuntimeOptions",
    "TrainSummary",
    "Training",
    "TrainingImages",
    "pretrain",
]

_log = logging.getLogger(__name__)
_CHECKPOINT_NEXT = "checkpoint-next"  # where rank 0 writes before the reporter takes over
# Every worker computes the same buffers, and a queue is large: they need no broadcast. torch renamed the
# argument that says so.
_RENAMED = "forward_sync_buffers" in signature(DistributedDataParallel).parameters
_NO_BROADCAST: dict[str, Any] = {"forward_sync_buffers" if _RENAMED else "broadcast_buffers": False}


class Interrupted(Exception):
    """The training stopped because its reporter asked for it; a checkpoint was saved."""


def pretrain(
    config: PretrainConfig,
    data: TrainingImages,
    out_dir: Path,
    reporter: Reporter,
    options: RuntimeOptions = DEFAULT_OPTIONS,
    *,
    training: Callable[..., Training] | None = None,
) -> TrainSummary:
    """Train an encoder and export it to ``out_dir`` (rank 0), resuming from ``reporter.latest()``.

    If torch.distributed is initialised, every worker calls this with the same arguments and takes its equal
    part of each global batch; the result is that of one worker up to rounding. On one CPU worker the same
    seed gives the same weights bit for bit, however often the training was interrupted.

    The global batch is never changed and never split in time: there is no gradient accumulation, because
    NT-Xent and batch norm over parts of a batch are another loss.

    Args:
        config: What is trained.
        data: The images it learns from.
        out_dir: Where the encoder is written.
        reporter: Takes epochs and checkpoints, and says when to stop.
        options: How it runs; they do not change the result.
        training: Makes the loop, for a subclass of ``Training`` that measures it (``training.timing``).

    Raises:
        Interrupted: The reporter asked to stop; a checkpoint was saved.
        DivergedError: The loss is not finite.
        OutOfMemory: A step does not fit; the message names three ways out.
        ValueError: Method, batch, images, labels, options or checkpoint do not fit together.
        DataError: There are fewer images than one batch.
    """
    check_inputs(config, data)
    cuda = torch.device(options.device).type == "cuda"
    with ExitStack() as stack:
        threads = stack.enter_context(_torch_threads(options.threads))
        stack.enter_context(torch_seed(derive_seed("initial-weights", config.seed)))
        views: list[ViewBackend] = []
        for policy in (config.views, config.views2):
            if policy is not None:
                chosen = choose_views(
                    policy,
                    options.backend,
                    config.batch // world_size(),
                    cuda=cuda,
                    threads=threads if cuda else max(1, threads // 4),
                )
                views.append(stack.enter_context(closing(chosen)))
        if rank() == 0:
            _log.info("views: %s on %s", views[0].name, views[0].device)
        loader = ViewLoader(
            on_device(data.images, views[0].device, resident=options.resident_images),
            data.keys,
            batch=config.batch,
            seed=config.seed,
            views=views,
            rank=rank(),
            world=world_size(),
            n_views=method_class(config.method).n_views,
        )
        loop = (training or Training)(config, loader, torch.device(options.device), data, options)
        loop.resume(reporter)
        loop.run(reporter, out_dir)
        return loop.finish(out_dir, views[0].name)


class Training:
    """Model, optimiser and progress of one worker."""

    def __init__(
        self,
        config: PretrainConfig,
        loader: ViewLoader,
        device: torch.device,
        data: TrainingImages,
        options: RuntimeOptions = DEFAULT_OPTIONS,
    ) -> None:
        self.config, self.loader, self.device, self.options = config, loader, device, options
        self.identity = training_identity(config, data)
        self.steps_per_epoch = loader.steps_per_epoch
        self.total_steps, self.warmup_steps = schedule(config, loader.steps_per_epoch)
        method = build_method(config, data.n_classes, len(data.keys))
        self.model = method.to(device)
        self.format = torch.channels_last if options.channels_last else torch.contiguous_format
        self.model.to(memory_format=self.format)
        convert_batchnorm(self.model, world_size(), device)
        if options.activation_checkpointing and not checkpoint_blocks(self.model.encoder):
            raise ValueError(f"activation_checkpointing finds no blocks in {config.encoder}; set it to false")
        if options.compile:
            self.model.encoder.compile()
        self.labels = (
            torch.from_numpy(data.labels) if self.model.labelled and data.labels is not None else None
        )
        self.bfloat16 = config.precision == "bfloat16" and fast_bfloat16(device)
        self.optimizer = build_optimizer(self.model, config)
        self.progress = Progress()
        self.features = FeatureWatch(self.model.n_views == 2)
        self.grad_norm = torch.tensor(math.nan)  # of the last step, if it was clipped
        self.losses = PendingLosses(options.loss_lag)
        self._graph: GraphedPasses | None = None
        if options.cuda_graph:
            if world_size() > 1 or options.activation_checkpointing:
                raise ValueError(
                    "cuda_graph is for one worker without activation_checkpointing; set one of them to false"
                )
            self._graph = GraphedPasses(self._passes(self.model), self.model, config.method)

    def resume(self, reporter: Reporter) -> None:
        """Continue from the reporter's checkpoint if there is one, on all workers or on none."""
        latest = reporter.latest()
        checkpoint = load_checkpoint(latest) if latest is not None else None
        step = checkpoint.progress.step if checkpoint is not None else 0
        if step != self._mean_over_workers(step):
            raise RuntimeError(
                f"worker {rank()} found a checkpoint of step {step}, but other workers found another step; "
                "give all workers a reporter on storage that they share"
            )
        if checkpoint is None:
            return
        known = with_neutral_fields(checkpoint.identity)
        if known != self.identity:
            changed = [k for k, v in self.identity.items() if known.get(k) != v]
            raise ValueError(
                f"{latest} is the checkpoint of another training (other {', '.join(changed)}); "
                "use a new directory, or delete it to start again"
            )
        self.model.load_state_dict(checkpoint.model)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.progress = checkpoint.progress
        self.features.restore(checkpoint.features, self.device)

    def run(self, reporter: Reporter, out_dir: Path) -> None:
        """Do all remaining steps."""
        replica: nn.Module = self.model
        if world_size() > 1:
            replica = DistributedDataParallel(
                self.model,
                device_ids=[torch.cuda.current_device()] if self.device.type == "cuda" else None,
                gradient_as_bucket_view=True,
                **_NO_BROADCAST,
            )
        replica.train()
        clock = CheckpointClock(
            reporter,
            self.options.checkpoint_every_s,
            self.options.checkpoint_every_steps,
            self.progress.step,
            self.device,
        )
        started = time.perf_counter() - self.progress.seconds
        batches = self.loader.batches(self.progress.step, self.total_steps)
        with closing(cast(Generator[ViewBatch], batches)):
            for batch in batches:
                loss, features, rate = self.step(replica, batch)
                self._count(self.losses.add(batch, rate, loss))
                self.progress = dataclasses.replace(
                    self.progress, step=batch.step + 1, seconds=time.perf_counter() - started
                )
                if (batch.step + 1) % self.steps_per_epoch == 0 or batch.step + 1 == self.total_steps:
                    self._count(self.losses.drain())
                    now = time.perf_counter()
                    self.progress = dataclasses.replace(self.progress, seconds=now - started)
                    self._end_epoch(reporter, batch.epoch, features, rate)
                    started = now
                if clock.due(self.progress.step):
                    self._count(self.losses.drain())
                    self._save_checkpoint(reporter, out_dir)
                    if clock.stop:
                        raise Interrupted(f"stopped after step {self.progress.step} of {self.total_steps}")

    def _count(self, losses: list[float]) -> None:
        for loss in losses:  # one by one: the rounding does not depend on how many are read together
            self.progress = dataclasses.replace(self.progress, loss_sum=self.progress.loss_sum + loss)

    def step(self, replica: nn.Module, batch: ViewBatch) -> tuple[Tensor, Tensor, float]:
        """One update; returns this worker's loss (a scalar) and features, and the learning rate. A GPU may
        not have finished it.

        Raises:
            OutOfMemory: The step does not fit into memory.
        """
        rate = learning_rate_at(
            batch.step,
            total_steps=self.total_steps,
            warmup_steps=self.warmup_steps,
            peak=self.config.peak_learning_rate,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self._seed_step(batch.step)
        with memory_guard(self.config, world_size(), self.options.activation_checkpointing):
            return (*self._update(replica, batch), rate)

    def _update(self, replica: nn.Module, batch: ViewBatch) -> tuple[Tensor, Tensor]:
        views = tuple(
            view.to(self.device, non_blocking=True, memory_format=self.format) for view in batch.views
        )
        labels = None
        if self.labels is not None:
            labels = self.labels[torch.from_numpy(batch.index)].to(self.device, non_blocking=True)
        output = (self._graph or self._passes(replica))(views, labels)
        if self.config.grad_clip:
            self.grad_norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        self.optimizer.step()
        self.model.after_step(batch.step, self.total_steps)
        features = output.features.detach()
        self.features.add(features, len(batch.index), world_size())
        return output.loss.detach(), features

    def _passes(self, replica: nn.Module) -> Passes:
        """Forward and backward pass, which set all gradients."""

        def passes(views: tuple[Tensor, ...], labels: Tensor | None) -> StepOutput:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
                output: StepOutput = replica(views, labels)
            self.optimizer.zero_grad(set_to_none=True)
            output.loss.backward()
            return output

        return passes

    def _seed_step(self, step: int) -> None:
        """What a method draws follows from (seed, step), so a resume needs no generator's state. All workers'
        generators have the same state, see ``own_share``."""
        seed = derive_seed("step", self.config.seed, step, 0)  # without the 0 all numbers change
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _end_epoch(self, reporter: Reporter, epoch: int, features: Tensor, rate: float) -> None:
        grad_norm = float(self.grad_norm)
        if not self.config.grad_clip:
            gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
            grad_norm = float(nn.utils.get_total_norm(gradients))
        if not math.isfinite(grad_norm):
            raise DivergedError(
                f"the gradient is {grad_norm} at the end of epoch {epoch}; lower learning_rate"
            )
        spread = F.normalize(features.float(), dim=1).std(dim=0).mean() * math.sqrt(features.shape[1])
        steps = self.progress.step - epoch * self.steps_per_epoch  # the last epoch may be cut short
        report = self.features.report()
        record = EpochRecord(
            epoch=epoch,
            loss=self._mean_over_workers(self.progress.loss_sum) / steps,
            learning_rate=rate,
            grad_norm=grad_norm,
            feature_std=self._mean_over_workers(float(spread)),
            images_per_s=steps * self.config.batch / self.progress.seconds,
            seconds=self.progress.seconds,
            rankme=report.rankme,
            alignment=report.alignment,
            uniformity=report.uniformity,
            knn=self._knn(),
        )
        epochs = (*self.progress.epochs, record)
        self.progress = dataclasses.replace(self.progress, loss_sum=0.0, seconds=0.0, epochs=epochs)
        if rank() == 0:
            reporter.log(record)

    def _knn(self) -> float | None:
        if self.options.watched is None or rank() != 0:
            return None
        return knn_accuracy(self.model.encoder, self.options.watched, self.device)

    def _save_checkpoint(self, reporter: Reporter, out_dir: Path) -> None:
        loss_sum = self._mean_over_workers(self.progress.loss_sum)
        features = self.features.state()
        directory = out_dir / _CHECKPOINT_NEXT
        if rank() == 0:
            checkpoint = Checkpoint(
                identity=self.identity,
                progress=dataclasses.replace(self.progress, loss_sum=loss_sum),
                model=self.model.state_dict(),
                optimizer=self.optimizer.state_dict(),
                features=features,
            )
            save_checkpoint(checkpoint, directory)
        reporter.save(directory, self.progress.step)
        if world_size() > 1:
            dist.barrier()  # no worker continues or restarts before the checkpoint is saved

    def _mean_over_workers(self, value: float) -> float:
        if world_size() == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return float(total) / world_size()

    def finish(self, out_dir: Path, backend: str) -> TrainSummary:
        """Summarise the training, and export the encoder on rank 0."""
        epochs = self.progress.epochs
        seconds = sum(record.seconds for record in epochs)
        summary = TrainSummary(
            loss=epochs[-1].loss,
            steps=self.total_steps,
            images_per_s=self.total_steps * self.config.batch / seconds,
            seconds=seconds,
            backend=backend,
            precision="bfloat16" if self.bfloat16 else "float32",
            epochs=epochs,
        )
        if rank() == 0:
            facts = {"loss": summary.loss, "steps": summary.steps, **self.identity["data"]}
            export_encoder(self.model.encoder, self.config, out_dir, facts, self.model.projection())
            shutil.rmtree(out_dir / _CHECKPOINT_NEXT, ignore_errors=True)
        return summary


@contextmanager
def _torch_threads(threads: int | None) -> Iterator[int]:
    """Set torch's threads inside the block, restore them after it, and give the number in use."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
