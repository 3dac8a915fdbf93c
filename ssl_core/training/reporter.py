"""How a training talks to whoever started it: epochs, checkpoints, and the wish to stop. No torch, no Ray
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
    """One finished epoch, counted from 0. `loss` is the mean over its steps and all workers, in nats.

    Of the epoch's last step: `learning_rate`; `grad_norm` over all parameters; `feature_std`, the standard
    deviation over the batch of L2-normalised features, mean over dimensions and times the root of their
    number (near 1 where features spread over the sphere, 0 where they collapsed to a point).
    `images_per_s` counts images, not views.

    Over the epoch's last steps, up to 2,048 features: `rankme`, `alignment` and `uniformity` (see
    `ssl_core.watch`); `knn`, the accuracy of nearest neighbours on the slice that is watched. None where
    there is nothing to measure them on.
    """

    epoch: int
    loss: float
    learning_rate: float
    grad_norm: float
    feature_std: float
    images_per_s: float
    seconds: float
    rankme: float | None = None
    alignment: float | None = None
    uniformity: float | None = None
    knn: float | None = None


class Reporter(Protocol):
    """What `ssl_core.trainer.pretrain` needs of its surroundings."""

    def log(self, record: EpochRecord) -> None:
        """Take an epoch; called on rank 0 only. After a resume an epoch may come again, with the same
        numbers."""

    def save(self, directory: Path, step: int) -> None:
        """Keep a checkpoint. Called by every rank; `directory` holds rank 0's CHECKPOINT_FILE, is visible
        where rank 0 runs, and may be emptied or removed by the reporter."""

    def latest(self) -> Path | None:
        """Directory of the checkpoint to resume from; every rank must be able to read the same one."""

    def stop_requested(self) -> bool:
        """Whether to stop after a checkpoint; rank 0's answer counts. Asked on every rank, between steps,
        about twice a second: a sign of life."""


class LocalReporter:
    """Keeps everything in `workdir`: `checkpoint/` (the newest one, replaced atomically), `epochs.jsonl`;
    stops when a file named `stop` appears there. With several workers give each its `rank`: only rank 0
    writes.
    """

    def __init__(self, workdir: Path, rank: int = 0) -> None:
        self._workdir = Path(workdir)
        self._rank = rank
        self._workdir.mkdir(parents=True, exist_ok=True)

    def log(self, record: EpochRecord) -> None:
        """Lines of this epoch and later ones (from before a resume) are dropped, so that every epoch is
        there once."""
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
