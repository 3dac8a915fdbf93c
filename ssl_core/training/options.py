"""How a training runs, and what it gives."""

from __future__ import annotations

import dataclasses
from typing import Literal

from ssl_sweep.ssl_core.training.reporter import EpochRecord
from ssl_sweep.ssl_core.training.watch import LabelledSlice


@dataclasses.dataclass(frozen=True, kw_only=True)
class RuntimeOptions:
    """How a training runs, without changing what it learns: not part of any identity."""

    backend: Literal["auto", "torch", "dali"] = "auto"
    """What renders the views, on the device of the training. ``auto`` is DALI on a GPU, if it is installed,
    and torch on a CPU."""
    device: str = "cpu"
    """``cpu``, or ``cuda`` for the current CUDA device."""
    threads: int | None = None
    """CPU threads of this worker; None keeps torch's setting."""
    checkpoint_every_s: float = 30.0
    """Seconds between checkpoints."""
    checkpoint_every_steps: int = 0
    """A checkpoint is also saved every this many steps; 0: by time only."""
    activation_checkpointing: bool = False
    """Compute the activations of the encoder twice, to keep fewer of them in memory."""
    compile: bool = False
    """Run the encoder through torch.compile. Its warm-up counts into the time of the first epoch, and
    rounding differs."""
    cuda_graph: bool = False
    """Record forward and backward pass as a CUDA graph at the first step, and replay it at all others. For
    one worker, and methods that draw no random numbers in a step."""
    channels_last: bool = True
    """Keep images and weights of convolutions in the memory format that GPUs compute in."""
    resident_images: bool = True
    """Keep all training images on a GPU, if they have at most 64 px a side and fit into a quarter of its free
    memory."""
    loss_lag: int = 2
    """Steps that a GPU may be behind: the loss of a step is read so many steps later, so that no step waits
    for the one before it. 0 waits at every step. A loss that is not finite still stops the training, and is
    reported with its own step."""
    watched: LabelledSlice | None = None
    """A labelled slice for a nearest-neighbour accuracy after every epoch."""


DEFAULT_OPTIONS = RuntimeOptions()


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSummary:
    """A finished training. Times and rates are those of its epochs, also of those before a resume, without
    start-up."""

    loss: float
    """Of the last epoch, in nats."""
    steps: int
    images_per_s: float
    seconds: float
    backend: str
    """What rendered the views."""
    precision: str
    """What the network computed in."""
    epochs: tuple[EpochRecord, ...]
