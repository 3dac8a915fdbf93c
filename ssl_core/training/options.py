"""How a training runs, and what it gives."""

from __future__ import annotations

import dataclasses

from ssl_sweep.ssl_core.config.training import TrainingOptions
from ssl_sweep.ssl_core.training.reporter import EpochRecord
from ssl_sweep.ssl_core.training.watch import LabelledSlice


@dataclasses.dataclass(frozen=True, kw_only=True)
class RuntimeOptions(TrainingOptions):
    """How one worker runs a training, without changing what it learns: not part of any identity."""

    device: str = "cpu"
    """``cpu``, or ``cuda`` for the current CUDA device."""
    threads: int | None = None
    """CPU threads of this worker; None keeps torch's setting."""
    channels_last: bool = True
    """Keep images and weights of convolutions in the memory format that GPUs compute in."""
    watched: LabelledSlice | None = None
    """A labelled slice for a nearest-neighbour accuracy after every epoch, whatever ``watch_knn`` says."""


DEFAULT_OPTIONS = RuntimeOptions()


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSummary:
    """A finished training. Times and rates are those of its epochs, also of those before a resume, without
    start-up."""

    loss: float
    """Mean loss of the last epoch, in nats."""
    steps: int
    images_per_s: float
    seconds: float
    backend: str
    """What rendered the views."""
    precision: str
    """What the network computed in."""
    epochs: tuple[EpochRecord, ...]
