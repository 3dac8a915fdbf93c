"""The table of results with more columns for reports: which predictions were right, and durations.

These columns come from predictions and manifests. Durations differ from run to run, so they are only in
Parquet files and reports, which are not compared byte by byte.
"""

from __future__ import annotations

import pyarrow as pa

from ssl_sweep.ssl_core.evaluation.metrics import hits
from ssl_sweep.sweep.planning.cells import Cell
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.results.predictions import Predictions
from ssl_sweep.sweep.results.table import SCHEMA, Row, results
from ssl_sweep.sweep.store.store import Store

EVIDENCE = pa.schema(
    [
        ("n_classes", pa.int64()),
        ("levels_total", pa.int64()),
        ("hits", pa.binary()),
        ("rankme", pa.float64()),
        ("train_seconds", pa.float64()),
        ("train_gpu", pa.bool_()),
        ("answer_seconds", pa.float64()),
        ("predicted_seconds", pa.float64()),
        ("predicted_from", pa.string()),
    ]
)
"""``hits``: ``np.packbits`` of whether top-1 was right, in the order of the test images. ``rankme``: of the
encoder after its last epoch. ``train_seconds``: device-seconds of all workers and encoders of a fusion; None
without a training. ``answer_seconds``: duration of the fit, with all parts of a resumed fine-tuning.
``predicted_seconds``: ``train_seconds`` of one encoder as predicted before it started, from a rate of the
source ``predicted_from``."""


def results_with_evidence(plan: Plan, store: Store) -> pa.Table:
    """The rows of ``results`` with the columns of ``EVIDENCE``."""
    table = results(plan, store)
    cells = {cell.id: cell for cell in plan.cells}
    evidence = _Evidence(store)
    store.prefetch((cells[id].stage, cells[id].probe_id) for id in _complete(table))
    rows = [
        evidence.of(cells[id], level) if status == "complete" else {}
        for id, level, status in zip(
            *(table[name].to_pylist() for name in ("cell_id", "level", "status")), strict=True
        )
    ]
    more = pa.Table.from_pylist(rows, schema=EVIDENCE)
    for name in EVIDENCE.names:
        table = table.append_column(EVIDENCE.field(name), more[name])
    return table


def _complete(table: pa.Table) -> set[str]:
    """Ids of the finished cells."""
    columns = (table[name].to_pylist() for name in ("cell_id", "status"))
    return {id for id, status in zip(*columns, strict=True) if status == "complete"}


FULL_SCHEMA = pa.schema([*SCHEMA, *EVIDENCE])


class _Evidence:
    """Reads each encoder's manifest once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._predictions = Predictions(store)
        self._trainings: dict[str, Row] = {}

    def of(self, cell: Cell, level: str) -> Row:
        dataset = self._predictions.dataset(cell)
        answered = self._predictions.at(cell, level)
        return {
            "n_classes": dataset.n_classes(level),
            "levels_total": len(dataset.levels),
            "hits": hits(answered.truth, answered.guess[:, None]),
            "answer_seconds": answered.seconds,
            **self._trained(cell),
        }

    def _trained(self, cell: Cell) -> Row:
        """A fusion took all of its trainings. RankMe describes one encoder, so a fusion has none."""
        found = [self._training(pretraining.id) for pretraining in cell.encoders]
        if len(found) == 1:
            return found[0]
        trained = [facts for facts in found if facts]
        if not trained:
            return {}
        seconds = sum(facts["train_seconds"] for facts in trained)
        return {"train_seconds": seconds, "train_gpu": any(facts["train_gpu"] for facts in trained)}

    def _training(self, encoder: str) -> Row:
        if encoder not in self._trainings:
            manifest = self._store.complete("pretrain", encoder)
            outputs = manifest.outputs if manifest is not None else {}
            found: Row = {}
            if manifest is not None and outputs.get("epochs"):
                found = {
                    "rankme": outputs["epochs"][-1].get("rankme"),
                    "train_seconds": float(outputs["seconds"]) * manifest.run.workers,
                    "train_gpu": manifest.run.device == "gpu",
                    "predicted_seconds": manifest.run.predicted_s * manifest.run.workers or None,
                    "predicted_from": manifest.run.predicted_from or None,
                }
            self._trainings[encoder] = found
        return self._trainings[encoder]
