"""How trainings run, as a grid's ``compute`` gives it. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How a training runs, without changing what it learns: not part of any identity.

    Each field is also a key of the grid's ``compute``, with the same name and default.
    """

    backend: Literal["auto", "torch", "dali"] = "auto"
    """What renders the views, on the device of the training. ``auto`` is DALI on a GPU, if it is installed,
    and torch on a CPU."""
    checkpoint_every_s: float = 30.0
    """Seconds between checkpoints."""
    checkpoint_every_steps: int = 0
    """Steps between additional checkpoints; 0: by time only."""
    activation_checkpointing: bool = False
    """Compute the activations of the encoder twice, to keep fewer of them in memory."""
    compile: bool = False
    """Run the encoder through torch.compile. Its warm-up counts into the time of the first epoch, and
    rounding differs."""
    cuda_graph: bool = False
    """Record forward and backward pass as a CUDA graph at the first step, and replay it at all others. For
    one worker, and methods that draw no random numbers in a step."""
    resident_images: bool = True
    """Keep all training images on a GPU, if they have at most 64 px a side and fit into a quarter of its free
    memory."""
    loss_lag: int = 2
    """Steps that a GPU may be behind: its loss is read this many steps later, so that no step waits
    for the one before it. 0 waits at every step. A loss that is not finite still stops the training, and is
    reported with its own step."""
    watch_knn: bool = False
    """Judge the encoder by nearest neighbours after every epoch, if there are labelled images for it."""
