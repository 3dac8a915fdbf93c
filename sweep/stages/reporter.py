"""What a training leaves in its stage's folder on the way: its epochs, and the checkpoint it goes on from."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from ssl_sweep.ssl_core.training.reporter import EpochRecord, LocalReporter
from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.spec.specs import Stage
from ssl_sweep.sweep.store.store import Store


class StageReporter:
    """A `ssl_core.reporter.Reporter` on the folder of a stage. On an object store every checkpoint is
    uploaded as it is saved, so that another node can go on from it.

    `stop()` says whether the run was asked to stop. Of several workers each gives its `rank`.
    """

    def __init__(self, store: Store, stage: Stage, id: str, stop: Callable[[], bool], rank: int = 0) -> None:
        self._store, self._stage, self._id = store, stage, id
        self._stop, self._rank = stop, rank
        self._local = LocalReporter(store.path(stage, id), rank)

    def log(self, record: EpochRecord) -> None:
        self._local.log(record)

    def save(self, directory: Path, step: int) -> None:
        self._local.save(directory, step)
        if self._rank == 0:
            keep_checkpoint(self._store, self._stage, self._id)

    def latest(self) -> Path | None:
        found = self._store.checkpoint(self._stage, self._id)
        if found is not None and self._rank == 0:
            self._store.extra(self._stage, self._id, "epochs.jsonl")  # goes on where another node left it
        return None if found is None else found.parent

    def stop_requested(self) -> bool:
        return self._stop() or self._local.stop_requested()


def keep_checkpoint(store: Store, stage: Stage, id: str) -> None:
    """Where the store does not answer the training goes on: the checkpoint is on this node, and the next one
    is uploaded again."""
    try:
        store.share(stage, id)  # first: who goes on from the checkpoint finds the epochs before it
        store.keep_checkpoint(stage, id)
    except StoreError as error:
        print(f"the checkpoint of {stage} {id} stays on this node alone: {error}", file=sys.stderr)
