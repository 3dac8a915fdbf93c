"""Older tables, duplicates, and what the usual conditions leave."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from results_frame import Table

from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.report.findings import findings
from ssl_sweep.sweep.report.frame import complete, finest, read_results, usual


@pytest.mark.smoke
def test_a_table_without_the_later_columns_reads_as_the_usual_conditions(tmp_path: Path) -> None:
    table = Table().add(0.5, images=2000).add(0.5, images=4000).add(0.4, method="random")
    later = [
        *("representation", "train_level", "fused_with", "fused_domain", "fused_method", "c_path", "hits"),
        *("levels_total", "n_classes", "rankme", "train_seconds"),
    ]
    old = table.arrow()
    old = old.drop_columns([name for name in later if name in old.column_names])
    pq.write_table(old, tmp_path / "old.parquet")
    frame = read_results(tmp_path / "old.parquet")
    assert len(usual(frame)) == len(usual(table.frame())) == len(frame)
    assert set(frame["levels_total"]) == {2}
    assert findings(frame)


@pytest.mark.smoke
def test_a_budget_written_in_two_ways_is_one_answer() -> None:
    table = Table().add(0.5, labels="1000").add(0.5, labels="10%")
    assert len(finest(complete(table.frame()))) == 3


def test_uniform_budgets_are_usual_only_where_there_are_some() -> None:
    table = Table().add(0.5).add(0.5, draw="stratified").add(0.5, draw="stratified", eval_domain="land")
    found = finest(usual(table.frame()))
    assert set(zip(found["eval_domain"], found["draw"], strict=True)) == {
        ("scenes", "uniform"),
        ("land", "stratified"),
    }


def test_a_classifier_trained_on_coarse_labels_is_not_usual() -> None:
    table = Table().add(0.5)
    table.rows += [
        {**row, "train_level": "group", "cell_id": "x"} for row in table.rows if row["level_index"]
    ]
    assert set(usual(table.frame())["train_level"]) == {"label"}


@pytest.mark.parametrize("make", ["missing", "text", "other table"])
def test_what_is_no_results_table_is_refused(make: str, tmp_path: Path) -> None:
    path = tmp_path / "results.parquet"
    if make == "text":
        path.write_text("cell_id,top1\n")
    if make == "other table":
        pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(StoreError, match=r"results\.parquet"):
        read_results(path)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("pretrain_id", "drop", "it has no column pretrain_id"),
        ("images", None, "images is empty in 6 rows of trained encoders"),
        ("n_labels", None, "n_labels is empty in 6 rows"),
        ("n_labels", 0, "n_labels holds 0"),
        ("top1", 45.2, "top1 holds 45.2, which is not between 0 and 1"),
        ("top1", float("inf"), "top1 holds inf"),
        ("epochs", "many", "epochs holds .*string instead of int64"),
    ],
)
def test_a_column_that_is_wrong_is_named(column: str, values: object, said: str) -> None:
    table = Table().add(0.5).arrow()
    place = table.column_names.index(column)
    wrong = table.drop_columns([column])
    if values != "drop":
        kind = table.schema.field(column).type if values is None else None
        wrong = wrong.add_column(place, column, pa.array([values] * len(table), kind))
    with pytest.raises(StoreError, match=f"not a results table: {said}"):
        read_results(wrong)


def test_numbers_written_by_others_are_read_as_ours() -> None:
    table = Table().add(0.5).add(0.4, method="random").arrow()
    place = table.column_names.index("images")
    floats = pa.array([float("nan") if n is None else float(n) for n in table["images"].to_pylist()])
    frame = read_results(table.set_column(place, "images", floats))
    assert frame["images"].equals(read_results(table)["images"])
