"""The table of results: one row per cell and label level, from the store only.

It is sorted by (cell_id, level) and has no times, so its bytes stay the same as long as nothing runs. A cell
that is not finished has rows too, with a status instead of numbers: one for each level once its dataset is
prepared, and one without a level before. A classifier that learnt a coarser level has rows for this level and
those above it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal

import pyarrow as pa

from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.planning.cells import Cell
from ssl_sweep.sweep.planning.columns import CELL_COLUMNS, COLUMNS, ENCODER_COLUMNS, Outcome
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.results.status import CellStatus, cell_statuses
from ssl_sweep.sweep.spec.columns import Column
from ssl_sweep.sweep.store.manifest import Manifest
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.util.files import whole

Format = Literal["table", "csv", "json", "parquet"]

ARROW = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_(), bytes: pa.binary()}


def schema_of(columns: Iterable[Column]) -> pa.Schema:
    """The Arrow schema of these columns."""
    return pa.schema([(column.name, ARROW[column.type]) for column in columns])


SCHEMA = schema_of(COLUMNS.values())
_OUTCOMES = {name: column.value for name, column in COLUMNS.items() if column.source == "outcome"}
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
    axes: Row = {name: column.value(cell.pretraining) for name, column in ENCODER_COLUMNS.items()}
    axes |= {name: column.value(cell) for name, column in CELL_COLUMNS.items()}
    for outcome in _outcomes(cell, manifest, status):
        yield axes | {name: value(outcome) for name, value in _OUTCOMES.items()}


def _outcomes(cell: Cell, manifest: Manifest | None, status: CellStatus) -> Iterator[Outcome]:
    """The outcomes of every level that the cell tests, finest first."""
    known = cell.evaluation.levels
    if manifest is None and not known:
        yield Outcome(cell=cell, status=status)
        return
    missing = None if manifest is None else len(manifest.outputs.get("missing_classes", ()))
    found: Mapping[str, Any] = {} if manifest is None else manifest.outputs["levels"]
    if found and found.keys() != set(cell.levels):  # renamed since: they are kept from fine to coarse
        found = dict(zip(cell.levels, found.values(), strict=True))
    for index, level in enumerate(cell.levels, start=len(known) - len(cell.levels)):
        scores = found.get(level, {})
        yield Outcome(cell=cell, status=status, level=level, index=index, scores=scores, missing=missing)


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
