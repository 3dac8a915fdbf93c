"""The checkpoint that a training resumes from, and when the workers save one."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ssl_sweep.ssl_core.distributed import rank, world_size
from ssl_sweep.ssl_core.training.reporter import CHECKPOINT_FILE, EpochRecord, Reporter

LOOK_EVERY_S = 0.5
"""Seconds between two looks of rank 0 at the clock and at whether to stop."""
_FORMAT = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a training is."""

    step: int = 0
    """The next step. With the seed it gives the data position and all random numbers, so no generator's
    state has to be saved."""
    loss_sum: float = 0.0
    """Over the steps of the unfinished epoch, mean over workers."""
    seconds: float = 0.0
    """Spent on the unfinished epoch."""
    epochs: tuple[EpochRecord, ...] = ()
    """The finished epochs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a training between two steps."""

    identity: Mapping[str, Any]
    """What is trained on which data; a training with another identity does not resume from it."""
    progress: Progress
    model: dict[str, Any]
    optimizer: dict[str, Any]
    features: Tensor = dataclasses.field(default_factory=lambda: torch.empty(0))
    """Features of the unfinished epoch, from which its record will be computed."""


def save_checkpoint(checkpoint: Checkpoint, directory: Path) -> None:
    """Write ``directory``/``CHECKPOINT_FILE`` atomically: only tensors and plain values."""
    content = {
        "format": _FORMAT,
        "identity": json.dumps(checkpoint.identity),
        "progress": json.dumps(dataclasses.asdict(checkpoint.progress)),
        "model": checkpoint.model,
        "optimizer": checkpoint.optimizer,
        "features": checkpoint.features,
    }
    directory.mkdir(parents=True, exist_ok=True)
    write_atomic(directory / CHECKPOINT_FILE, lambda path: torch.save(content, path))


def load_checkpoint(directory: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU; nothing in the file is executed.

    Raises:
        ValueError: The file is damaged or has another format.
    """
    path = directory / CHECKPOINT_FILE
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found = content["format"]
    except Exception as error:
        kind = type(error).__name__
        raise ValueError(f"{path} is not a readable checkpoint ({kind}); delete it to start again") from error
    if found != _FORMAT:
        raise ValueError(
            f"{path} has format {found}, but this version reads {_FORMAT}; delete it to start again"
        )
    progress = json.loads(content["progress"])
    epochs = tuple(EpochRecord(**record) for record in progress.pop("epochs"))
    return Checkpoint(
        identity=json.loads(content["identity"]),
        progress=Progress(**progress, epochs=epochs),
        model=content["model"],
        optimizer=content["optimizer"],
        features=content.get("features", torch.empty(0)),
    )


class CheckpointClock:
    """Agrees among workers when to save a checkpoint and when to stop, without a collective per step.

    At each look rank 0 decides for all, and sets the step of the next look, about half a second ahead.

    Args:
        reporter: Is asked whether to stop.
        every_s: Seconds between checkpoints.
        every_steps: Steps between additional checkpoints; 0: by time only.
        step: Step at which the training starts or resumes.
        device: Where a collective's tensors are.
    """

    def __init__(
        self, reporter: Reporter, every_s: float, every_steps: int, step: int, device: torch.device
    ) -> None:
        self._reporter, self._device = reporter, device
        self._every_s, self._every_steps = every_s, every_steps
        self._saved_at = self._looked_at = time.monotonic()
        self._looked_step, self._next_step = step, step + 1
        self.stop = False

    def due(self, step: int) -> bool:
        """Whether every worker should save a checkpoint after ``step`` steps; sets ``stop`` if the training
        should end."""
        by_step = self._every_steps > 0 and step % self._every_steps == 0
        by_time = step >= self._next_step and self._look(step)
        if by_step or by_time:
            self._saved_at = time.monotonic()
        return by_step or by_time

    def _look(self, step: int) -> bool:
        now = time.monotonic()
        asked = self._reporter.stop_requested()  # on every rank: it shows that the worker is alive
        self.stop = rank() == 0 and asked
        save = self.stop or now - self._saved_at >= self._every_s
        pace = (now - self._looked_at) / (step - self._looked_step)
        next_step = step + max(1, min(1000, int(LOOK_EVERY_S / max(pace, 1e-9))))
        if world_size() > 1:
            decision = torch.tensor([self.stop, save, next_step], device=self._device)
            dist.broadcast(decision, src=0)
            stop, due, next_step = decision.tolist()
            self.stop, save = bool(stop), bool(due)
        self._looked_at, self._looked_step, self._next_step = now, step, next_step
        return save


def write_atomic(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` a file beside ``path``, and move it there once it is on the disk."""
    partial = path.with_name(f"{path.name}.partial")
    write(partial)
    with open(partial, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)
