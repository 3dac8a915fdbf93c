"""The results table as a pandas frame, and the selections that every figure and claim starts from.

Whole numbers that may be missing (``images``, ``epochs``, …) are floats with NaN. An untrained encoder has
``subset_seed`` -1 and ``pretrain_domain`` "". ``hits`` are bytes, or None: ``np.packbits`` of "top-1 is
right" over the test images in the dataset's order.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ssl_sweep.ssl_core.config.registry import LABELLED_METHODS, UNTRAINED
from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.planning.columns import CELL_COLUMNS, COLUMNS, ENCODER_COLUMNS
from ssl_sweep.sweep.protocols import PROTOCOLS
from ssl_sweep.sweep.results.report_table import EVIDENCE
from ssl_sweep.sweep.results.table import schema_of

NOT_SELF_SUPERVISED = UNTRAINED | LABELLED_METHODS
"""Methods that are not trained here, or learn from labels; all others count as self-supervised."""
SEEDS = ("pretrain_seed", "subset_seed", "probe_seed")
PRETRAINING = tuple(name for name, column in ENCODER_COLUMNS.items() if column.of not in ("id", "seed"))
"""Columns that say how an encoder was made, without its seeds."""
EVALUATION = (*(n for n, c in CELL_COLUMNS.items() if c.of != "seed" and n != "labels"), "level")
"""Columns that say how it was evaluated, without the label budget's seed and the text of its size."""
_COLUMNS = (*COLUMNS.values(), *EVIDENCE)
_NEVER_EMPTY = (
    *("cell_id", "pretrain_id", "method", "pretrain_seed", "eval_domain", "n_labels", "protocol", "status"),
)
_NEEDED = ("pretrain_domain", "images", "level", "top1")
_UNSEEN = r"[\x00-\x1f\x7f\x{200e}\x{200f}\x{202a}-\x{202e}\x{2066}-\x{2069}\x{fffe}\x{ffff}]+"
"""Characters that break a line, reverse the text after them, or are not allowed in an SVG."""


def read_results(source: pa.Table | Path) -> pd.DataFrame:
    """The results as a frame; columns that an older table lacks get their neutral values.

    Args:
        source: the results table, or a Parquet file of it.

    Raises:
        StoreError: the file does not exist, is not Parquet, or is not a results table.
    """
    table = _checked(source, "the table") if isinstance(source, pa.Table) else read_table(source)
    return _with_neutral_values(_typed(table).to_pandas())


def read_table(path: Path) -> pa.Table:
    """The results table in a Parquet file.

    Raises:
        StoreError: as ``read_results``.
    """
    import pyarrow.parquet as pq

    try:
        return _checked(pq.read_table(path), str(path))
    except FileNotFoundError:
        raise StoreError(f"{path} does not exist") from None
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None


def _checked(table: pa.Table, where: str) -> pa.Table:
    """The table; StoreError if it is not a results table."""
    absent = sorted({*_NEVER_EMPTY, *_NEEDED} - set(table.column_names))
    wrong = f"it has no column {', '.join(absent)}" if absent else _fault(table)
    if wrong:
        hint = "to write one: ssl-sweep results GRID --format parquet -o results.parquet"
        raise StoreError(f"{where} is not a results table: {wrong}", hint=hint)
    return table


def _fault(table: pa.Table) -> str:
    """Why it cannot be read as results; "" if it can."""
    try:
        table = _typed(table)
    except pa.ArrowException as error:
        return str(error).splitlines()[0]
    for name in _NEVER_EMPTY:
        if table[name].null_count:
            return f"{name} is empty in {table[name].null_count:,} rows"
    top1, budgets = (pc.min_max(table[name].drop_null()).as_py() for name in ("top1", "n_labels"))
    for found in (top1["min"], top1["max"]):
        if found is not None and not 0 <= found <= 1 and not math.isnan(found):
            return f"top1 holds {found:g}, which is not between 0 and 1"
    if budgets["min"] is not None and budgets["min"] < 1:
        return f"n_labels holds {budgets['min']}, which is less than 1"
    untrained = pc.is_in(table["method"], pa.array(["random", "weights"]))
    lost = pc.sum(pc.and_(pc.is_null(table["images"]), pc.invert(untrained))).as_py()
    return f"images is empty in {lost:,} rows of trained encoders" if lost else ""


def _typed(table: pa.Table) -> pa.Table:
    """Every known column in its type; missing columns are empty."""
    columns = {}
    for field in schema_of(_COLUMNS):
        if field.name not in table.column_names:
            columns[field.name] = pa.nulls(len(table), field.type)
            continue
        column = table[field.name]
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), None, column)
        try:
            column = column.cast(field.type)
        except pa.ArrowException:
            raise pa.ArrowInvalid(f"{field.name} holds {column.type} instead of {field.type}") from None
        is_text = field.type == pa.string()
        columns[field.name] = pc.replace_substring_regex(column, _UNSEEN, " ") if is_text else column
    return pa.table(columns)


def _with_neutral_values(frame: pd.DataFrame) -> pd.DataFrame:
    for column in _COLUMNS:
        if column.neutral is not None:
            others = (frame["protocol"] != column.of) & (column.of in PROTOCOLS)
            frame[column.name] = frame[column.name].mask(frame[column.name].isna() & ~others, column.neutral)
    frame["images"] = frame["images"].where(frame["images"] > 0)
    for name in SEEDS:
        frame[name] = frame[name].fillna(-1).astype("int64")
    frame["level_index"] = frame["level_index"].astype("int64")
    by_domain = frame.groupby("eval_domain")
    frame["levels_total"] = frame["levels_total"].fillna(by_domain["level_index"].transform("max") + 1)
    fine = frame[frame["level_index"] == 0].groupby("eval_domain")["level"].first()
    frame["train_level"] = frame["train_level"].fillna(frame["eval_domain"].map(fine))
    return frame


# Selections -------------------------------------------------------------------------------------------


def complete(frame: pd.DataFrame) -> pd.DataFrame:
    """The finished rows, each result once: label budgets written as 500 and as 10% can be the same."""
    done = frame[(frame["status"] == "complete") & frame["top1"].notna()]
    return done.drop_duplicates(["pretrain_id", *EVALUATION, "probe_seed"])


def finest(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the finest level of each dataset."""
    return frame[frame["level_index"] == 0]


def usual(
    frame: pd.DataFrame,
    protocol: str | None = "linear",
    *,
    representation: str | None = "h",
    fused: bool = False,
) -> pd.DataFrame:
    """Rows under the usual conditions.

    These are: features of one encoder, clean test images, a classifier trained on the finest labels, balanced
    label budgets. Uniformly drawn label budgets and the default path of C are preferred if a dataset has
    them.

    Args:
        protocol: None for every protocol.
        representation: None for every representation.
        fused: rows of fused encoders instead of single ones.
    """
    rows = frame[
        (frame["representation"].isin([representation]) | (representation is None))
        & (frame["eval_corruption"] == "none")
        & (frame["label_imbalance"] == 1)
        & ((frame["fused_with"] != "") == fused)
    ]
    if protocol is not None:
        rows = rows[rows["protocol"] == protocol]
    fine = rows[rows["level_index"] == 0].groupby("eval_domain", observed=True)["level"].first()
    trained = zip(rows["eval_domain"], rows["train_level"], strict=True)
    known = set(fine.items())
    rows = rows[np.array([pair in known for pair in trained], dtype=bool)]
    for name, value in (("draw", "uniform"), ("c_path", "default")):
        group = [rows["eval_domain"], rows["protocol"]]
        there = (rows[name] == value).groupby(group, observed=True).transform("any")
        rows = rows[(rows[name] == value) | ~there]
    return rows


def plain(frame: pd.DataFrame, *, damaged: bool = False, tailed: bool = False) -> pd.DataFrame:
    """Rows of encoders pretrained on clean, uniformly drawn images, and of untrained ones.

    Args:
        damaged: keep corrupted images too.
        tailed: keep images drawn with a long tail, or in another way, too.
    """
    rows = frame[frame["subset_draw"].isna() | (frame["subset_draw"] == "uniform")] if not tailed else frame
    if not damaged:
        rows = rows[rows["corruption"].isin(("none", ""))]
    return rows if tailed else rows[rows["imbalance"].isna() | (rows["imbalance"] == 1)]


def self_supervised(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of encoders trained without labels."""
    return frame[~frame["method"].isin(NOT_SELF_SUPERVISED)]


def in_domain(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows evaluated on the dataset that the encoder was pretrained on."""
    return frame[frame["pretrain_domain"] == frame["eval_domain"]]


def scratch(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of training from scratch with labels."""
    return frame[(frame["method"] == "random") & (frame["protocol"] == "fine-tune")]
