"""What a column of the results table is: one declaration, read by everything that knows the column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Value = str | int | float | bool | bytes | None


@dataclass(frozen=True)
class Column:
    """A column of the results table.

    These follow from the declarations: the table and its files, the summary, the frame and comparisons of
    reports; the rules ``match``, ``fuse``, ``exclude`` and ``--priority``; the parameters and metrics in
    MLflow; and ``docs/columns.md``.
    """

    name: str
    type: type[str | int | float | bool | bytes]
    value: Callable[[Any], Value]
    """Its value, from an object of ``source``; a protocol's column reads the settings of the protocol."""
    doc: str = ""
    """A sentence; empty for a key of a grid, whose description it is."""
    of: str = "evaluation"
    """What it belongs to: id, encoder, images, recipe, seed, evaluation, a protocol's name, score, outcome or
    evidence."""
    source: Literal["encoder", "cell", "outcome", "evidence"] = "cell"
    """What ``value`` reads: a ``Pretraining``, a ``Cell``, the ``Outcome`` of a level, or ``Evidence``, which
    only Parquet files and reports have."""
    neutral: Value = None
    """What an empty field means in a report; for a column of a protocol only in rows of that protocol."""
