"""One copy of one measurement of `ssl-sweep calibrate`, in a process of its own; several run at once."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.sweep.util.files import temporary


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training to time on `images` images: `config.batch` is one worker's. `folder` is where checkpoints
    go; `gpu` is the number of this machine's GPU, None on a CPU and where Ray assigns one."""

    config: PretrainConfig
    images: int
    folder: Path
    on_gpu: bool
    threads: int
    warm_up_s: float
    seconds: float
    gpu: int | None = None
    backend: Literal["auto", "torch", "dali"] = "auto"
    activation_checkpointing: bool = False
    compile: bool = False
    watch: bool = False


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one copy found, in seconds, and on which hardware."""

    hardware: str
    step_s: float
    epoch_s: float
    checkpoint_s: float
    steps: int


def warm() -> None:
    """Import what a measurement needs, so that the copies start together."""
    import ssl_sweep.ssl_core.training.timing  # noqa: F401


def measure(job: Job) -> Measured:
    """Time the steps of a job."""
    from ssl_sweep.ssl_core.training.timing import time_steps
    from ssl_sweep.sweep.store.provenance import hardware

    if job.on_gpu and job.gpu is not None:
        import torch

        torch.cuda.set_device(job.gpu)
    place = temporary(job.folder, "calibrate")  # what a kill leaves of it is removed by the next run
    place.mkdir(parents=True)
    try:
        found = time_steps(
            job.config,
            job.images,
            place,
            warm_up_s=job.warm_up_s,
            seconds=job.seconds,
            backend=job.backend,
            device="cuda" if job.on_gpu else "cpu",
            threads=job.threads,
            activation_checkpointing=job.activation_checkpointing,
            compile=job.compile,
            watch=job.watch,
        )
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return Measured(
        hardware=hardware(job.on_gpu),
        step_s=found.step_s,
        epoch_s=found.epoch_s,
        checkpoint_s=found.checkpoint_s,
        steps=found.steps,
    )
