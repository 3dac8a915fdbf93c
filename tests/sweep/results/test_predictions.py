"""Test images and right answers by class add up to the metrics of their row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from answered import COARSE, GRID, GUESS, NAMES, TRUE, answered
from rich.console import Console

from ssl_sweep.sweep.commands.render import print_table
from ssl_sweep.sweep.results.predictions import PER_CLASS, results_per_class
from ssl_sweep.sweep.results.table import results


def test_classes_add_up_to_the_metrics(sweeps: Any) -> None:
    plan = answered(sweeps)
    table = results_per_class(plan, sweeps.store)
    assert table.schema.equals(PER_CLASS)
    rows = table.to_pylist()
    known = results(plan, sweeps.store).to_pylist()
    assert len(known) == 2 * (2 + 1) and len(rows) == 2 * (5 + 3 + 3)
    for one in known:
        mine = [r for r in rows if (r["cell_id"], r["level"]) == (one["cell_id"], one["level"])]
        assert tuple(r["class_name"] for r in mine) == NAMES[one["level_index"]]
        assert [r["class"] for r in mine] == list(range(len(mine)))
        assert sum(r["n_test"] for r in mine) == one["n_test"] == 200
        assert sum(r["correct"] for r in mine) / 200 == pytest.approx(one["top1"])
        recall = [r["correct"] / r["n_test"] for r in mine]
        assert np.mean(recall) == pytest.approx(one["balanced_accuracy"])
        y, best = (TRUE, GUESS) if one["level"] == "class" else (COARSE[TRUE], COARSE[GUESS])
        assert [r["correct"] for r in mine] == [int(((y == c) & (best == c)).sum()) for c in range(len(mine))]


def test_nothing_finished_is_an_empty_table_and_shown(sweeps: Any) -> None:
    empty = results_per_class(sweeps.plan(GRID), sweeps.store)
    assert empty.schema.equals(PER_CLASS) and len(empty) == 0
    console = Console(width=120)
    with console.capture() as shown:
        print_table(results_per_class(answered(sweeps), sweeps.store), console)
    assert "class_name" in shown.get() and len(shown.get().splitlines()) == 1 + 22
