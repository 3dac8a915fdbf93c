"""The kept predictions of finished cells at any label level, and the table by class."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_sweep.data_ops.dataset.prepared import DatasetManifest, PreparedDataset
from ssl_sweep.ssl_core.evaluation.metrics import per_class
from ssl_sweep.sweep.planning.cells import Cell
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.results.table import results
from ssl_sweep.sweep.spec.files import COMPARED
from ssl_sweep.sweep.store.store import Store

Ints = npt.NDArray[np.int64]

PER_CLASS = pa.schema(
    [
        ("cell_id", pa.string()),
        ("level", pa.string()),
        ("class", pa.int64()),
        ("class_name", pa.string()),
        ("n_test", pa.int64()),
        ("correct", pa.int64()),
    ]
)
"""``class`` counts from 0 in the dataset's order. ``n_test`` test images belong to it; ``correct`` of these
were predicted as it. Summed over the classes, correct / n_test is the top-1 of the cell and level."""


@dataclass(frozen=True)
class Answered:
    """The predictions of a probe or a fine-tuning at one level."""

    truth: Ints
    """(n_test,) labels of the test images, in the dataset's order."""
    guess: Ints
    """(n_test,) predicted classes."""
    seconds: float
    """Duration of the fit."""


class Predictions:
    """Reads each dataset's manifest once, and each file of predictions once for consecutive rows."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._datasets: dict[str, DatasetManifest] = {}
        self._last: tuple[str, Answered | None] = ("", None)

    def dataset(self, cell: Cell) -> DatasetManifest:
        """The dataset that a finished cell is evaluated on."""
        id = cell.evaluation.prepare_id
        if id not in self._datasets:
            manifest = self._store.complete("prepare", id)
            assert manifest is not None  # the cell is complete
            self._datasets[id] = DatasetManifest.from_json(json.dumps(dict(manifest.outputs)))
        return self._datasets[id]

    def at(self, cell: Cell, level: str) -> Answered:
        """The predictions of a finished cell at the level that was learnt, or mapped to a coarser one."""
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
            known = self._renumbered(cell, table["y"].to_numpy(), guess, manifest.outputs.get("untested", {}))
            answered = Answered(*known, seconds)
            self._last = (cell.probe_id, answered)
        return answered

    def _renumbered(
        self, cell: Cell, truth: Ints, guess: Ints, untested: Mapping[str, int]
    ) -> tuple[Ints, Ints]:
        """The classes in the numbers that they have now: renaming a class moves it in the order.

        ``untested`` is explained in ``Draws.untested``.
        """
        folder = self._store.fetch("prepare", cell.evaluation.prepare_id, COMPARED) / "data"
        data, level = PreparedDataset(folder), cell.probe.level or None
        now = data.labels("test", level)
        number = np.arange(max(int(truth.max()), int(guess.max())) + 1)
        number[truth] = now
        for old, key in untested.items():
            (row,) = np.flatnonzero(data.keys("train") == np.uint64(key))
            if int(old) < len(number):
                number[int(old)] = data.labels("train", level)[row]
        return now, number[guess]


def _to_level(dataset: DatasetManifest, learnt: str, level: str) -> Ints:
    """(n_classes,) the class at ``level`` of each class at the level ``learnt``; "" is the finest level."""
    to_learnt, to_level = (_from_finest(dataset, name) for name in (learnt or dataset.levels[0], level))
    mapped = np.zeros(dataset.n_classes(learnt or None), dtype=np.int64)
    mapped[to_learnt] = to_level
    return mapped


def _from_finest(dataset: DatasetManifest, level: str) -> Ints:
    index = dataset.levels.index(level)
    return np.asarray(dataset.parents[index - 1]) if index else np.arange(dataset.n_classes())


def results_per_class(plan: Plan, store: Store) -> pa.Table:
    """A row for each finished cell, label level and class, in the order of ``results``.

    Classes without a test image have rows too.
    """
    table = results(plan, store)
    columns = (table[name].to_pylist() for name in ("cell_id", "level", "status"))
    done = [(id, level) for id, level, status in zip(*columns, strict=True) if status == "complete"]
    predictions, cells = Predictions(store), {cell.id: cell for cell in plan.cells}
    parts = []
    for id, level in done:
        cell = cells[id]
        dataset, answered = predictions.dataset(cell), predictions.at(cell, level)
        names = dataset.class_names[dataset.levels.index(level)]
        counts = per_class(answered.truth, answered.guess[:, None], len(names))
        parts.append(
            pa.table(
                {
                    "cell_id": pa.array([id] * len(names), pa.string()),
                    "level": pa.array([level] * len(names), pa.string()),
                    "class": np.arange(len(names)),
                    "class_name": pa.array(names, pa.string()),
                    "n_test": counts.n_test,
                    "correct": counts.correct,
                },
                schema=PER_CLASS,
            )
        )
    return pa.concat_tables(parts) if parts else PER_CLASS.empty_table()
