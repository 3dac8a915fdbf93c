"""What a report needs beyond the table of results: which test images were right, and what each answer took.

These columns come from predictions and manifests. Times differ from run to run, so they are in no table that
is compared byte by byte: only in Parquet files and reports.
"""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_ops.dataset import DatasetManifest
from sweep.cells import Cell
from sweep.plan import Plan
from sweep.results import SCHEMA, Row, results
from sweep.store import Store

EVIDENCE = pa.schema(
    [
        ("n_classes", pa.int64()),
        ("levels_total", pa.int64()),
        ("hits", pa.binary()),
        ("rankme", pa.float64()),
        ("train_seconds", pa.float64()),
        ("train_gpu", pa.bool_()),
        ("answer_seconds", pa.float64()),
    ]
)
"""`hits`: `np.packbits` of whether top-1 was right, in the order of the test images. `rankme` of the encoder
after its last epoch. `train_seconds` of device time, all workers together; empty without a training."""


def results_with_evidence(plan: Plan, store: Store) -> pa.Table:
    """The rows of `results`, with the columns of EVIDENCE."""
    table = results(plan, store)
    cells = {cell.id: cell for cell in plan.cells}
    evidence = _Evidence(store)
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


FULL_SCHEMA = pa.schema([*SCHEMA, *EVIDENCE])


class _Evidence:
    """Reads each prediction file, encoder and dataset once; rows of a cell come one after the other."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._trainings: dict[str, Row] = {}
        self._datasets: dict[str, DatasetManifest] = {}
        self._answer: tuple[str, np.ndarray, np.ndarray, float] = ("", np.empty(0), np.empty(0), 0.0)

    def of(self, cell: Cell, level: str) -> Row:
        dataset = self._dataset(cell.evaluation.prepare_id)
        truth, guess, seconds = self._answered(cell)
        mapped = _to_level(dataset, cell.probe.level, level)
        return {
            "n_classes": dataset.n_classes(level),
            "levels_total": len(dataset.levels),
            "hits": np.packbits(mapped[truth] == mapped[guess]).tobytes(),
            "answer_seconds": seconds,
            **self._training(cell.pretraining.id),
        }

    def _dataset(self, prepare_id: str) -> DatasetManifest:
        if prepare_id not in self._datasets:
            manifest = self._store.complete("prepare", prepare_id)
            assert manifest is not None  # else the cell would not be complete
            self._datasets[prepare_id] = DatasetManifest.from_json(json.dumps(dict(manifest.outputs)))
        return self._datasets[prepare_id]

    def _answered(self, cell: Cell) -> tuple[np.ndarray, np.ndarray, float]:
        """Labels and best classes of the test images at the level that was learnt; the seconds it took."""
        if self._answer[0] != cell.probe_id:
            manifest = self._store.complete(cell.stage, cell.probe_id)
            assert manifest is not None
            table = pq.read_table(self._store.predictions(cell.probe_id), columns=["y", "top5"])
            width = table["top5"].type.list_size
            guess = table["top5"].combine_chunks().flatten().to_numpy()[::width]
            self._answer = (cell.probe_id, table["y"].to_numpy(), guess, manifest.run.seconds)
        return self._answer[1:]

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
                }
            self._trainings[encoder] = found
        return self._trainings[encoder]


def _to_level(dataset: DatasetManifest, learnt: str, level: str) -> np.ndarray:
    """The class at `level` of each class at the level `learnt` ("" is the finest)."""
    to_learnt, to_level = (_from_finest(dataset, name) for name in (learnt or dataset.levels[0], level))
    mapped = np.zeros(dataset.n_classes(learnt or None), dtype=np.int64)
    mapped[to_learnt] = to_level
    return mapped


def _from_finest(dataset: DatasetManifest, level: str) -> np.ndarray:
    index = dataset.levels.index(level)
    return np.asarray(dataset.parents[index - 1]) if index else np.arange(dataset.n_classes())
