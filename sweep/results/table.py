"""The table of results: one row per cell and label level, from the store only.

It is sorted by (cell_id, level) and has no times, so its bytes stay the same as long as nothing runs. A cell
that is not finished has rows too, with a status instead of numbers: one for each level once its dataset is
prepared, and one without a level before. ``level_index`` counts levels from the finest, 0.
``missing_classes`` is the number of classes of the learnt level without an image in the label budget. A
classifier that learnt a coarser level has rows for this level and those above it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal

import pyarrow as pa

from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.planning.cells import Cell
from ssl_sweep.sweep.planning.columns import EVALUATE_COLUMNS, PRETRAIN_COLUMNS, SETTING_COLUMNS, Value
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.results.status import CellStatus, cell_statuses
from ssl_sweep.sweep.results.summary import SummaryRow, summary
from ssl_sweep.sweep.store.manifest import Manifest
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.util.files import whole

Format = Literal["table", "csv", "json", "parquet"]

__all__ = [
    "AXES",
    "METRICS",
    "SCHEMA",
    "Format",
    "Row",
    "SummaryRow",
    "finished_rows",
    "results",
    "summary",
    "write_results",
]

METRICS = ("top1", "top1_std_err", "top5", "balanced_accuracy")

SCHEMA = pa.schema(
    [
        ("cell_id", pa.string()),
        ("pretrain_id", pa.string()),
        ("method", pa.string()),
        ("pretrain_domain", pa.string()),
        ("images", pa.int64()),
        ("corruption", pa.string()),
        ("encoder", pa.string()),
        ("epochs", pa.int64()),
        ("batch", pa.int64()),
        ("subset_seed", pa.int64()),
        ("pretrain_seed", pa.int64()),
        ("eval_domain", pa.string()),
        ("labels", pa.string()),
        ("n_labels", pa.int64()),
        ("draw", pa.string()),
        ("protocol", pa.string()),
        ("level", pa.string()),
        ("probe_seed", pa.int64()),
        *((name, pa.float64()) for name in METRICS),
        ("n_test", pa.int64()),
        ("status", pa.string()),
        ("image_size", pa.int64()),
        ("optimizer", pa.string()),
        ("learning_rate", pa.float64()),
        ("lr_scaling", pa.string()),
        ("warmup_epochs", pa.float64()),
        ("weight_decay", pa.float64()),
        ("temperature", pa.float64()),
        ("head_layers", pa.int64()),
        ("head_dim", pa.int64()),
        ("strength", pa.float64()),
        ("blur", pa.bool_()),
        ("view_mode", pa.string()),
        ("precision", pa.string()),
        ("level_index", pa.int64()),
        ("eval_corruption", pa.string()),
        ("label_imbalance", pa.float64()),
        ("subset_draw", pa.string()),
        ("imbalance", pa.float64()),
        ("pool_shares", pa.string()),
        ("missing_classes", pa.int64()),
        ("views", pa.string()),
        ("steps", pa.int64()),
        ("momentum", pa.float64()),
        ("momentum_encoder", pa.float64()),
        ("queue", pa.int64()),
        ("predictor_dim", pa.int64()),
        ("grad_clip", pa.float64()),
        ("lars_form", pa.string()),
        ("weights", pa.string()),
        ("finetune_steps", pa.int64()),
        ("finetune_epochs", pa.int64()),
        ("representation", pa.string()),
        ("train_level", pa.string()),
        ("fused_with", pa.string()),
        ("fused_domain", pa.string()),
        ("fused_method", pa.string()),
        ("c_path", pa.string()),
        ("knn_k", pa.int64()),
        ("knn_temperature", pa.float64()),
    ]
)
AXES = tuple(
    name
    for name in SCHEMA.names
    if name in {*PRETRAIN_COLUMNS, *EVALUATE_COLUMNS, *SETTING_COLUMNS} and name != "pretrain_id"
)
"""The columns that say what a cell is."""

Row = dict[str, Any]


def results(plan: Plan, store: Store) -> pa.Table:
    """One row per cell and level."""
    statuses = cell_statuses(plan, store)
    rows: list[Row] = []
    for cell in plan.cells:
        status = statuses[cell.id]
        manifest = store.complete(cell.stage, cell.probe_id) if status == "complete" else None
        lost = status == "complete" and manifest is None
        rows += _rows(cell, manifest, "missing" if lost else status)
    rows.sort(key=lambda row: (row["cell_id"], row["level"] or ""))
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def finished_rows(cell: Cell, manifest: Manifest) -> list[Row]:
    """The rows of a finished cell, finest level first."""
    return list(_rows(cell, manifest, "complete"))


def _rows(cell: Cell, manifest: Manifest | None, status: CellStatus) -> Iterator[Row]:
    axes: dict[str, Value] = {"cell_id": cell.id}
    axes |= {name: column(cell.pretraining) for name, column in PRETRAIN_COLUMNS.items()}
    axes |= {name: column(cell) for name, column in EVALUATE_COLUMNS.items()}
    axes |= {name: column(cell.pretraining) for name, column in SETTING_COLUMNS.items()}
    if manifest is None:
        for index, level in _levels(cell):
            yield {**axes, "level": level, "level_index": index, "status": status}
        if not cell.evaluation.levels:
            yield {**axes, "level": None, "status": status}
        return
    # By place, from fine to coarse: a level may have been renamed since
    for (index, level), found in zip(_levels(cell), manifest.outputs["levels"].values(), strict=True):
        facts: dict[str, Value] = {
            "level": level,
            "level_index": index,
            "n_test": found["n_test"],
            "status": "complete",
        }
        facts["missing_classes"] = len(manifest.outputs.get("missing_classes", ()))
        yield {**axes, **facts, **{name: _number(found[name]) for name in METRICS}}


def _levels(cell: Cell) -> Iterator[tuple[int, str]]:
    """The levels that the cell judges, counted from the finest of the dataset."""
    known = cell.evaluation.levels
    yield from enumerate(cell.levels, start=len(known) - len(cell.levels))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


# Writing ----------------------------------------------------------------------------------------------


def write_results(table: pa.Table, format: Format | str, stream: IO[bytes]) -> None:
    """Write the table. ``table`` is aligned text with four decimals; other formats have all digits.

    Raises:
        ValueError: there is no such format.
    """
    match format:
        case "parquet":
            import pyarrow.parquet as pq

            buffer = io.BytesIO()  # Parquet seeks; a pipe does not
            pq.write_table(table, buffer)
            stream.write(buffer.getvalue())
        case "csv":
            import csv

            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(table.column_names)
            writer.writerows([_field(value) for value in row.values()] for row in table.to_pylist())
            stream.write(text.getvalue().encode())
        case "json":
            rows = ",\n ".join(json.dumps(row, ensure_ascii=False) for row in table.to_pylist())
            stream.write(f"[{rows}]\n".encode())
        case "table":
            stream.write(_aligned(table).encode())
        case _:
            raise ValueError(f"no format {format!r}; use table, csv, json or parquet")


def save_results(table: pa.Table, format: Format | str, path: Path) -> None:
    """Write a file, completely or not at all.

    Raises:
        StoreError: the file cannot be written.
    """
    try:
        with whole(path) as partial, partial.open("wb") as stream:
            write_results(table, format, stream)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error


def _field(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else value  # csv writes the shortest text that reads back as the same float


def _aligned(table: pa.Table) -> str:
    def text(value: object) -> str:
        return f"{value:.4f}" if isinstance(value, float) else str(_field(value))

    lines = [table.column_names, *([text(value) for value in row.values()] for row in table.to_pylist())]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        "  ".join(part.ljust(width) for part, width in zip(line, widths, strict=True)) for line in lines
    )
    return "\n".join(line.rstrip() for line in padded) + "\n"
