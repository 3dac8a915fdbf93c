"""`ssl-sweep results --per-class`: a row per cell, label level and class, from the kept predictions."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ssl_sweep.ssl_core.evaluation.metrics import per_class
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.results.predictions import Predictions
from ssl_sweep.sweep.results.table import results
from ssl_sweep.sweep.store.store import Store

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
"""`class` counts from 0 in the dataset's order; `n_test` test images are of it, and `correct` of these are
predicted as it. Summed over the classes, correct / n_test is the top-1 of the cell and level; the table of
results says under `cell_id` what the cell is."""


def results_per_class(plan: Plan, store: Store) -> pa.Table:
    """The finished cells by class, in the order of `results`; classes without a test image have rows too."""
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
