"""How a training talks to its surroundings: epochs, checkpoints and stop requests. No torch and no Ray
here."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Protocol

CHECKPOINT_FILE = "checkpoint.pt"
"""The one file of a checkpoint directory."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One finished epoch.

    ``rankme``, ``alignment`` and ``uniformity`` are measured on up to 2,048 features of its last steps, see
    ``training.watch``. A measure is None if there is nothing to measure it on.
    """

    epoch: int
    """Counted from 0."""
    loss: float
    """Mean over the epoch's steps and all workers, in nats."""
    learning_rate: float
    """At the last step."""
    grad_norm: float
    """Norm of the gradient over all parameters, at the last step."""
    feature_std: float
    """Standard deviation over the last batch of the L2-normalised features, mean over dimensions and times
    the root of their number: near 1 if features spread over the sphere, 0 if they collapsed to a point."""
    images_per_s: float
    """Images, not views, per second."""
    seconds: float
    rankme: float | None = None
    alignment: float | None = None
    uniformity: float | None = None
    knn: float | None = None
    """Nearest-neighbour accuracy on the watched slice."""


class Reporter(Protocol):
    """What ``training.trainer.pretrain`` needs of its surroundings."""

    def log(self, record: EpochRecord) -> None:
        """Take the record of an epoch; called only on rank 0. After a resume an epoch may come again, with
        the same numbers."""

    def save(self, directory: Path, step: int) -> None:
        """Keep a checkpoint; called on every rank. ``directory`` holds ``CHECKPOINT_FILE`` of rank 0, on its
        machine. The reporter may empty or remove it."""

    def latest(self) -> Path | None:
        """Directory of the checkpoint to resume from, or None; every rank must be able to read the same
        one."""

    def stop_requested(self) -> bool:
        """Whether to stop after a checkpoint; the answer of rank 0 counts.

        Called on every rank between steps, about twice a second: it also shows that the worker is alive.
        """


class LocalReporter:
    """Keeps everything in ``workdir``: the newest checkpoint in ``checkpoint/``, replaced atomically, and
    ``epochs.jsonl``. Stops if a file named ``stop`` appears there.

    With several workers give each its ``rank``: only rank 0 writes.
    """

    def __init__(self, workdir: Path, rank: int = 0) -> None:
        self._workdir = Path(workdir)
        self._rank = rank
        self._workdir.mkdir(parents=True, exist_ok=True)

    def log(self, record: EpochRecord) -> None:
        """Append a line. Lines of this epoch and later ones, from before a resume, are dropped, so that every
        epoch is there once."""
        path = self._workdir / "epochs.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in lines if json.loads(line)["epoch"] < record.epoch]
        partial = path.with_suffix(".partial")
        partial.write_text("\n".join([*kept, json.dumps(dataclasses.asdict(record))]) + "\n")
        os.replace(partial, path)

    def save(self, directory: Path, step: int) -> None:
        if self._rank != 0:
            return
        kept = self._workdir / "checkpoint"
        kept.mkdir(exist_ok=True)
        partial = kept / f"{CHECKPOINT_FILE}.partial"
        shutil.move(directory / CHECKPOINT_FILE, partial)  # a rename, or a copy from another file system
        os.replace(partial, kept / CHECKPOINT_FILE)

    def latest(self) -> Path | None:
        kept = self._workdir / "checkpoint"
        return kept if (kept / CHECKPOINT_FILE).exists() else None

    def stop_requested(self) -> bool:
        return (self._workdir / "stop").exists()
