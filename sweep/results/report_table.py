"""The table of results with more columns for reports: which predictions were right, and durations.

These columns come from predictions and manifests. Durations differ from run to run, so they are only in
Parquet files and reports, which are not compared byte by byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from ssl_sweep.data_ops.dataset.prepared import DatasetManifest
from ssl_sweep.ssl_core.evaluation.metrics import hits
from ssl_sweep.sweep.planning.cells import Cell
from ssl_sweep.sweep.planning.columns import COLUMNS
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.results.predictions import Answered, Predictions
from ssl_sweep.sweep.results.table import Row, results, schema_of
from ssl_sweep.sweep.spec.columns import Column, Value
from ssl_sweep.sweep.store.manifest import Manifest
from ssl_sweep.sweep.store.store import Store


@dataclass(frozen=True)
class Evidence:
    """What is known about a finished cell at one level, apart from its metrics."""

    dataset: DatasetManifest
    level: str
    answered: Answered
    trainings: Sequence[Manifest]
    """The encoders of the cell that were trained here."""
    alone: Manifest | None
    """The training, if the cell has one encoder: rates and RankMe describe one encoder, not a fusion."""

    @property
    def train_seconds(self) -> float | None:
        """Seconds of all workers and encoders."""
        each = [float(m.outputs["seconds"]) * m.run.workers for m in self.trainings]
        return sum(each) if each else None


def _of_training(value: Callable[[Manifest], Value]) -> Callable[[Evidence], Value]:
    return lambda e: value(e.alone) if e.alone is not None else None


_evidence = partial(Column, of="evidence", source="evidence")
EVIDENCE = (
    _evidence("n_classes", int, lambda e: e.dataset.n_classes(e.level), "Number of classes of the level."),
    _evidence("levels_total", int, lambda e: len(e.dataset.levels), "Number of levels of the dataset."),
    _evidence(
        "hits",
        bytes,
        lambda e: hits(e.answered.truth, e.answered.guess[:, None]),
        "`np.packbits` of whether top-1 was right, in the order of the test images.",
    ),
    _evidence(
        "rankme",
        float,
        _of_training(lambda m: m.outputs["epochs"][-1].get("rankme")),
        "RankMe of the encoder after its last epoch.",
    ),
    _evidence("train_seconds", float, lambda e: e.train_seconds, "Device-seconds of the trainings."),
    _evidence(
        "train_gpu",
        bool,
        lambda e: any(m.run.device == "gpu" for m in e.trainings) if e.trainings else None,
        "Whether one of them ran on a GPU.",
    ),
    _evidence(
        "answer_seconds", float, lambda e: e.answered.seconds, "Seconds of the fit, with all its parts."
    ),
    _evidence(
        "predicted_seconds",
        float,
        _of_training(lambda m: m.run.predicted_s * m.run.workers or None),
        "`train_seconds` of a single encoder as predicted before it started.",
    ),
    _evidence(
        "predicted_from",
        str,
        _of_training(lambda m: m.run.predicted_from or None),
        "Source of the rate of that prediction.",
    ),
)
"""Columns that only Parquet files and reports have."""
FULL_SCHEMA = schema_of([*COLUMNS.values(), *EVIDENCE])


def results_with_evidence(plan: Plan, store: Store) -> pa.Table:
    """The rows of ``results`` with the columns of ``EVIDENCE``."""
    table = results(plan, store)
    cells = {cell.id: cell for cell in plan.cells}
    names = ("cell_id", "level", "status")
    keys = list(zip(*(table[name].to_pylist() for name in names), strict=True))
    done = {id for id, _, status in keys if status == "complete"}
    store.prefetch((cells[id].stage, cells[id].probe_id) for id in done)
    reader = _Reader(store)
    rows: list[Row] = []
    for id, level, _ in keys:
        found = reader.read(cells[id], level) if id in done else None
        rows.append({column.name: column.value(found) for column in EVIDENCE} if found else {})
    more = pa.Table.from_pylist(rows, schema=schema_of(EVIDENCE))
    return pa.table([*table.columns, *more.columns], schema=FULL_SCHEMA)


class _Reader:
    """Reads each encoder's manifest once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._predictions = Predictions(store)
        self._trainings: dict[str, Manifest | None] = {}

    def read(self, cell: Cell, level: str) -> Evidence:
        found = [self._training(pretraining.id) for pretraining in cell.encoders]
        return Evidence(
            dataset=self._predictions.dataset(cell),
            level=level,
            answered=self._predictions.at(cell, level),
            trainings=[manifest for manifest in found if manifest is not None],
            alone=found[0] if len(found) == 1 else None,
        )

    def _training(self, encoder: str) -> Manifest | None:
        if encoder not in self._trainings:
            manifest = self._store.complete("pretrain", encoder)
            trained = manifest is not None and manifest.outputs.get("epochs")
            self._trainings[encoder] = manifest if trained else None
        return self._trainings[encoder]
