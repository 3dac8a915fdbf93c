"""One copy of a measurement of ``ssl-sweep calibrate``, in its own process. Several run at once."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.config.training import TrainingOptions
from ssl_sweep.sweep.util.files import temporary


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training to time."""

    config: PretrainConfig
    """Its ``batch`` is the part of one worker."""
    images: int
    """Images of one worker."""
    folder: Path
    """Where checkpoints are written."""
    on_gpu: bool
    threads: int
    warm_up_s: float
    seconds: float
    """Seconds to measure after the warm-up."""
    gpu: int | None = None
    """Index of the GPU on this machine; None on a CPU, or if Ray assigns one."""
    training: TrainingOptions = field(default_factory=TrainingOptions)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one copy measured."""

    hardware: str
    """Name of the device."""
    step_s: float
    """Seconds per step."""
    epoch_s: float
    """Seconds that the end of an epoch adds."""
    checkpoint_s: float
    """Seconds per checkpoint."""
    steps: int
    """Steps that were timed."""


def warm() -> None:
    """Import what a measurement needs, so that all copies start at the same time."""
    import ssl_sweep.ssl_core.training.timing  # noqa: F401


def measure(job: Job) -> Measured:
    """Time the steps of a job."""
    from ssl_sweep.ssl_core.training.options import RuntimeOptions
    from ssl_sweep.ssl_core.training.timing import time_steps
    from ssl_sweep.sweep.store.provenance import hardware

    if job.on_gpu and job.gpu is not None:
        import torch

        torch.cuda.set_device(job.gpu)
    place = temporary(job.folder, "calibrate")  # if this process is killed, the next run removes it
    place.mkdir(parents=True)
    options = RuntimeOptions(
        **vars(job.training), device="cuda" if job.on_gpu else "cpu", threads=job.threads
    )
    try:
        found = time_steps(
            job.config,
            job.images,
            place,
            options,
            warm_up_s=job.warm_up_s,
            seconds=job.seconds,
            watch=job.training.watch_knn,
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
