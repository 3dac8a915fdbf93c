"""The training loop: one code path for one worker or many, fresh or resumed, CPU or GPU."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import shutil
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from data_ops.hashing import derive_seed
from data_ops.images import ImageArray
from data_ops.loader import ViewBatch, ViewLoader
from data_ops.view_backend import choose_views
from ssl_core.checkpoint import Checkpoint, Progress, export_encoder, load_checkpoint, save_checkpoint
from ssl_core.config import PretrainConfig
from ssl_core.distributed import convert_batchnorm, rank, world_size
from ssl_core.encoders import torch_seed
from ssl_core.optim import build_optimizer, learning_rate_at
from ssl_core.reporter import EpochRecord, Reporter
from ssl_core.simclr import SimCLR

_LOOK_EVERY_S = 0.5  # how often rank 0 looks at the clock and asks whether to stop

_CHECKPOINT_NEXT = "checkpoint-next"  # where rank 0 writes before the reporter takes over


class Interrupted(Exception):
    """The training stopped because its reporter asked for it; a checkpoint was kept."""


class DivergedError(Exception):
    """The loss is not a finite number any more; nothing of this training is of use."""


@dataclasses.dataclass(frozen=True)
class TrainingImages:
    """`images` (N, S, S, 3) uint8 and their `keys` (N,) uint64, which seed the augmentation of each image."""

    images: ImageArray
    keys: npt.NDArray[np.uint64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSummary:
    """A finished training. `loss` is the last epoch's; times and rates are those of its epochs, resumed
    ones included, without start-up; `backend` names what rendered the views."""

    loss: float
    steps: int
    images_per_s: float
    seconds: float
    backend: str
    epochs: tuple[EpochRecord, ...]


def pretrain(
    config: PretrainConfig,
    data: TrainingImages,
    out_dir: Path,
    reporter: Reporter,
    *,
    backend: Literal["auto", "torch", "dali"] = "auto",
    device: str = "cpu",
    checkpoint_every_s: float = 30.0,
    threads: int | None = None,
) -> TrainSummary:
    """Train an encoder and export it to `out_dir` (rank 0), resuming where `reporter.latest()` left off.

    Where torch.distributed is initialised every worker calls this with the same arguments and takes its
    equal part of each global batch; the result is that of one worker up to rounding. On one CPU worker the
    same seed gives the same weights bit for bit, however often the training was interrupted. `device`
    "cuda" is the current CUDA device. `threads` are CPU threads of this worker; None leaves torch's
    setting.

    Raises:
        Interrupted: the reporter asked to stop; a checkpoint was kept.
        DivergedError: the loss is not finite.
        ValueError: method, batch, images or checkpoint do not fit together.
        DataError: fewer images than the batch.
    """
    _check(config, data)
    with _torch_threads(threads) as threads, torch_seed(derive_seed("initial-weights", config.seed)):
        views = choose_views(
            config.views,
            backend,
            config.batch // world_size(),
            cuda=torch.device(device).type == "cuda",
            threads=threads if torch.device(device).type == "cuda" else max(1, threads // 4),
        )
        with closing(views):
            loader = ViewLoader(
                data.images,
                data.keys,
                batch=config.batch,
                seed=config.seed,
                views=views,
                rank=rank(),
                world=world_size(),
            )
            training = Training(config, loader, torch.device(device), training_identity(config, data))
            training.resume(reporter)
            training.run(reporter, out_dir, checkpoint_every_s)
            return training.finish(out_dir, views.name)


class Training:
    """Model, optimiser and progress of one worker."""

    def __init__(
        self, config: PretrainConfig, loader: ViewLoader, device: torch.device, identity: dict[str, Any]
    ) -> None:
        self.config, self.loader, self.device, self.identity = config, loader, device, identity
        self.steps_per_epoch = loader.steps_per_epoch
        self.total_steps = config.epochs * self.steps_per_epoch
        self.warmup_steps = round(config.warmup_epochs * self.steps_per_epoch)
        self.model = SimCLR(config).to(device).to(memory_format=torch.channels_last)
        convert_batchnorm(self.model, world_size(), device)
        self.optimizer = build_optimizer(self.model, config)
        self.progress = Progress()

    def resume(self, reporter: Reporter) -> None:
        """From the reporter's checkpoint, where there is one; all workers or none."""
        latest = reporter.latest()
        checkpoint = load_checkpoint(latest) if latest is not None else None
        step = checkpoint.progress.step if checkpoint is not None else 0
        if step != self._mean_over_workers(step):
            raise RuntimeError(
                f"worker {rank()} found a checkpoint of step {step} and others one of another step; "
                "give all workers a reporter on storage that they share"
            )
        if checkpoint is None:
            return
        if checkpoint.identity != self.identity:
            changed = [k for k, v in self.identity.items() if checkpoint.identity.get(k) != v]
            raise ValueError(
                f"{latest} is the checkpoint of another training (other {', '.join(changed)}); "
                "use a new directory, or delete it to start again"
            )
        self.model.load_state_dict(checkpoint.model)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.progress = checkpoint.progress

    def run(self, reporter: Reporter, out_dir: Path, checkpoint_every_s: float) -> None:
        """All steps that are left."""
        replica: nn.Module = self.model
        if world_size() > 1:
            replica = DistributedDataParallel(
                self.model,
                device_ids=[torch.cuda.current_device()] if self.device.type == "cuda" else None,
                gradient_as_bucket_view=True,
            )
        replica.train()
        watch = _Watch(reporter, checkpoint_every_s, self.progress.step, self.device)
        started = time.perf_counter() - self.progress.seconds
        batches = self.loader.batches(self.progress.step, self.total_steps)
        with closing(cast(Generator[ViewBatch], batches)):
            for batch in batches:
                loss, features, rate = self.step(replica, batch)
                now = time.perf_counter()
                self.progress = dataclasses.replace(
                    self.progress,
                    step=batch.step + 1,
                    loss_sum=self.progress.loss_sum + loss,
                    seconds=now - started,
                )
                if (batch.step + 1) % self.steps_per_epoch == 0:
                    self._end_epoch(reporter, batch.epoch, features, rate)
                    started = now
                if watch.due(self.progress.step):
                    self._keep(reporter, out_dir)
                    if watch.stop:
                        raise Interrupted(f"stopped after step {self.progress.step} of {self.total_steps}")

    def step(self, replica: nn.Module, batch: ViewBatch) -> tuple[float, Tensor, float]:
        """One update; gives this worker's loss, its features and the learning rate. DivergedError."""
        rate = learning_rate_at(
            batch.step,
            total_steps=self.total_steps,
            warmup_steps=self.warmup_steps,
            peak=self.config.peak_learning_rate,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self._seed_step(batch.step)
        view1, view2 = (
            view.to(self.device, non_blocking=True, memory_format=torch.channels_last)
            for view in (batch.view1, batch.view2)
        )
        bfloat16 = self.config.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16):
            loss, features = replica(view1, view2)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DivergedError(
                f"the loss is {value} at step {batch.step} (epoch {batch.epoch}, learning rate {rate:.3g}); "
                "lower learning_rate, lengthen warmup_epochs, or raise temperature"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return value, features.detach(), rate

    def _seed_step(self, step: int) -> None:
        """Dropout and the like draw from (seed, step, worker), so a resume needs no generator's state."""
        seed = derive_seed("step", self.config.seed, step, rank())
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _end_epoch(self, reporter: Reporter, epoch: int, features: Tensor, rate: float) -> None:
        grad_norm = float(
            nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
        )
        if not math.isfinite(grad_norm):
            raise DivergedError(
                f"the gradient is {grad_norm} at the end of epoch {epoch}; lower learning_rate"
            )
        spread = F.normalize(features.float(), dim=1).std(dim=0).mean() * math.sqrt(features.shape[1])
        record = EpochRecord(
            epoch=epoch,
            loss=self._mean_over_workers(self.progress.loss_sum) / self.steps_per_epoch,
            learning_rate=rate,
            grad_norm=grad_norm,
            feature_std=self._mean_over_workers(float(spread)),
            images_per_s=self.steps_per_epoch * self.config.batch / self.progress.seconds,
            seconds=self.progress.seconds,
        )
        epochs = (*self.progress.epochs, record)
        self.progress = dataclasses.replace(self.progress, loss_sum=0.0, seconds=0.0, epochs=epochs)
        if rank() == 0:
            reporter.log(record)

    def _keep(self, reporter: Reporter, out_dir: Path) -> None:
        loss_sum = self._mean_over_workers(self.progress.loss_sum)
        directory = out_dir / _CHECKPOINT_NEXT
        if rank() == 0:
            checkpoint = Checkpoint(
                identity=self.identity,
                progress=dataclasses.replace(self.progress, loss_sum=loss_sum),
                model=self.model.state_dict(),
                optimizer=self.optimizer.state_dict(),
            )
            save_checkpoint(checkpoint, directory)
        reporter.save(directory, self.progress.step)
        if world_size() > 1:
            dist.barrier()  # nobody goes on, or starts again, before the checkpoint is there

    def _mean_over_workers(self, value: float) -> float:
        if world_size() == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return float(total) / world_size()

    def finish(self, out_dir: Path, backend: str) -> TrainSummary:
        """Export on rank 0."""
        epochs = self.progress.epochs
        seconds = sum(record.seconds for record in epochs)
        summary = TrainSummary(
            loss=epochs[-1].loss,
            steps=self.total_steps,
            images_per_s=self.total_steps * self.config.batch / seconds,
            seconds=seconds,
            backend=backend,
            epochs=epochs,
        )
        if rank() == 0:
            facts = {"loss": summary.loss, "steps": summary.steps, **self.identity["data"]}
            export_encoder(self.model.encoder, self.config, out_dir, facts)
            shutil.rmtree(out_dir / _CHECKPOINT_NEXT, ignore_errors=True)
        return summary


class _Watch:
    """Agrees among workers when to keep a checkpoint, without a collective per step: at each look rank 0
    decides and says at which step the next look will be, about half a second ahead."""

    def __init__(self, reporter: Reporter, every_s: float, step: int, device: torch.device) -> None:
        self._reporter, self._every_s, self._device = reporter, every_s, device
        self._kept_at = self._looked_at = time.monotonic()
        self._looked_step, self._next_step = step, step + 1
        self.stop = False

    def due(self, step: int) -> bool:
        """Whether every worker is to keep a checkpoint after `step` steps; sets `stop` where the training
        is to end."""
        if step < self._next_step:
            return False
        now = time.monotonic()
        self.stop = rank() == 0 and self._reporter.stop_requested()
        keep = self.stop or now - self._kept_at >= self._every_s
        pace = (now - self._looked_at) / (step - self._looked_step)
        next_step = step + max(1, min(1000, int(_LOOK_EVERY_S / max(pace, 1e-9))))
        if world_size() > 1:
            word = torch.tensor([self.stop, keep, next_step], device=self._device)
            dist.broadcast(word, src=0)
            stop, keep_word, next_step = word.tolist()
            self.stop, keep = bool(stop), bool(keep_word)
        self._looked_at, self._looked_step, self._next_step = now, step, next_step
        if keep:
            self._kept_at = now
        return keep


def _check(config: PretrainConfig, data: TrainingImages) -> None:
    if config.method != "simclr":
        raise ValueError(f"method {config.method!r} is not trained; pretrain() takes simclr")
    if config.batch % world_size():
        raise ValueError(
            f"batch {config.batch} cannot be shared equally by {world_size()} workers; "
            "choose a batch that is a multiple of the workers"
        )
    if config.batch // world_size() < 2:
        raise ValueError(f"batch {config.batch} leaves {world_size()} workers less than 2 images each")
    if data.images.shape[1:] != (config.image_size, config.image_size, 3) or data.images.dtype != np.uint8:
        raise ValueError(
            f"images are {data.images.dtype} {data.images.shape}, the training needs "
            f"uint8 (N, {config.image_size}, {config.image_size}, 3)"
        )


def training_identity(config: PretrainConfig, data: TrainingImages) -> dict[str, Any]:
    """What a checkpoint belongs to: JSON values."""
    keys = hashlib.sha256(data.keys.tobytes()).hexdigest()[:16]
    fields = {
        name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(config.views).items()
    }
    return {**dataclasses.asdict(config), "views": fields, "data": {"images": len(data.keys), "keys": keys}}


@contextmanager
def _torch_threads(threads: int | None) -> Iterator[int]:
    """torch's threads inside an operation, put back afterwards. Gives the number in use."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
