"""Running is reconciling: what is done is not done again, what is new is all that runs."""

from __future__ import annotations

import shutil
import time

import pytest
from bench import Bench

pytestmark = pytest.mark.slow


def test_a_finished_sweep_executes_nothing_and_prints_the_same(finished: Bench) -> None:
    before = finished.executions()
    table = finished.results()
    started = time.monotonic()
    first, second = finished.run(), finished.run()
    assert time.monotonic() - started < 20
    assert first.stdout == second.stdout
    assert "executed 0 stages" in second.stderr
    assert finished.executions() == before
    assert finished.results() == table


def test_every_stage_was_executed_once_and_the_plan_is_complete(finished: Bench) -> None:
    plan = finished.plan()
    assert plan["to_run"] == 0
    assert plan["complete"] == plan["stages"]
    assert plan["pretrainings"] == 3
    counts = finished.executions()
    assert set(counts.values()) == {1}
    stages = plan["nodes"]
    assert isinstance(stages, list)
    assert set(counts) == {(stage["stage"], stage["id"]) for stage in stages}


def test_a_new_axis_value_runs_only_what_is_new(finished: Bench) -> None:
    shutil.copytree(finished.folder / finished.store, finished.folder / "grown")
    grown = Bench(finished.folder, store="grown")
    before = grown.executions()
    more = "evaluate.0.labels=[32, 64, all]"
    assert grown.plan(more)["to_run"] == 16
    result = grown.run(more)
    new = grown.executions() - before
    assert {stage for stage, _ in new} == {"probe"}
    # (3 pretrainings + 1 random encoder) × 2 domains × 2 draws of the new budget
    assert sum(new.values()) == 4 * 2 * 2
    assert "executed 16 probe" in result.stderr
    assert set(grown.executions().values()) == {1}


def test_another_seed_gives_another_result_on_the_same_images(finished: Bench) -> None:
    rows = [dict(zip(*pair, strict=True)) for pair in pairs(finished.results())]
    by_seed = {
        seed: sorted(
            (row["eval_domain"], row["labels"], row["level"], row["probe_seed"], row["top1"])
            for row in rows
            if row["pretrain_seed"] == seed and row["pretrain_domain"] == "objects"
        )
        for seed in ("0", "1")
    }
    assert len(by_seed["0"]) == len(by_seed["1"]) > 0
    assert [row[:-1] for row in by_seed["0"]] == [row[:-1] for row in by_seed["1"]]
    assert by_seed["0"] != by_seed["1"]


def pairs(text: str) -> list[tuple[list[str], list[str]]]:
    """(header, row) of each row of a CSV."""
    header, *rows = [line.split(",") for line in text.splitlines()]
    return [(header, row) for row in rows]
