"""What a training saves in its stage's folder as it goes: a record of each epoch, and its checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from ssl_sweep.ssl_core.training.reporter import EpochRecord, LocalReporter
from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.spec.specs import Stage
from ssl_sweep.sweep.store.store import Store


class StageReporter:
    """A ``ssl_core.training.reporter.Reporter`` that writes to the folder of a stage.

    On an object store every checkpoint is uploaded as it is saved, so that another node can resume from it.
    """

    def __init__(self, store: Store, stage: Stage, id: str, stop: Callable[[], bool], rank: int = 0) -> None:
        """Report on the stage ``id`` from one of several workers.

        Args:
            store: The store that the stage is in.
            stage: Kind of the stage.
            id: Id of the stage.
            stop: Whether the run was asked to stop.
            rank: Rank of this worker; only rank 0 uploads.
        """
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
            self._store.extra(self._stage, self._id, "epochs.jsonl")  # append to what another node wrote
        return None if found is None else found.parent

    def stop_requested(self) -> bool:
        return self._stop() or self._local.stop_requested()


def keep_checkpoint(store: Store, stage: Stage, id: str) -> None:
    """Upload the checkpoint of a stage.

    If the store does not answer, the training continues: this checkpoint stays on this node, and the next one
    is uploaded as usual.
    """
    try:
        store.share(stage, id)  # first, so that a resumed training finds the epochs before its checkpoint
        store.keep_checkpoint(stage, id)
    except StoreError as error:
        print(f"the checkpoint of {stage} {id} was saved on this node only: {error}", file=sys.stderr)
