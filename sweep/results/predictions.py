"""The kept predictions of finished cells, at any label level."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from ssl_sweep.data_ops.dataset.prepared import DatasetManifest
from ssl_sweep.sweep.planning.cells import Cell
from ssl_sweep.sweep.store.store import Store

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Answered:
    """(n_test,) labels and predicted classes of the test images, in the dataset's order, and the seconds that
    the answer took."""

    truth: Ints
    guess: Ints
    seconds: float


class Predictions:
    """Reads each dataset's manifest once, and each prediction file once for rows that follow one another."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._datasets: dict[str, DatasetManifest] = {}
        self._last: tuple[str, Answered | None] = ("", None)

    def dataset(self, cell: Cell) -> DatasetManifest:
        """What a finished cell is evaluated on."""
        id = cell.evaluation.prepare_id
        if id not in self._datasets:
            manifest = self._store.complete("prepare", id)
            assert manifest is not None  # else the cell would not be complete
            self._datasets[id] = DatasetManifest.from_json(json.dumps(dict(manifest.outputs)))
        return self._datasets[id]

    def at(self, cell: Cell, level: str) -> Answered:
        """A finished cell's answer at the level that was learnt or, mapped up, at a coarser one."""
        answered = self._learnt(cell)
        mapped = _to_level(self.dataset(cell), cell.probe.level, level)
        return Answered(mapped[answered.truth], mapped[answered.guess], answered.seconds)

    def _learnt(self, cell: Cell) -> Answered:
        id, answered = self._last
        if answered is None or id != cell.probe_id:
            manifest = self._store.complete(cell.stage, cell.probe_id)
            assert manifest is not None
            self._store.fetch(cell.stage, cell.probe_id)
            table = pq.read_table(self._store.predictions(cell.probe_id), columns=["y", "top5"])
            width = table["top5"].type.list_size
            guess = table["top5"].combine_chunks().flatten().to_numpy()[::width]
            seconds = float(manifest.outputs.get("fit_seconds") or manifest.run.seconds)
            answered = Answered(table["y"].to_numpy(), guess, seconds)
            self._last = (cell.probe_id, answered)
        return answered


def _to_level(dataset: DatasetManifest, learnt: str, level: str) -> Ints:
    """The class at `level` of each class at the level `learnt` ("" is the finest)."""
    to_learnt, to_level = (_from_finest(dataset, name) for name in (learnt or dataset.levels[0], level))
    mapped = np.zeros(dataset.n_classes(learnt or None), dtype=np.int64)
    mapped[to_learnt] = to_level
    return mapped


def _from_finest(dataset: DatasetManifest, level: str) -> Ints:
    index = dataset.levels.index(level)
    return np.asarray(dataset.parents[index - 1]) if index else np.arange(dataset.n_classes())
