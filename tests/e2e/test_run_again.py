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
    assert plan["pretrainings"] == 2
    counts = finished.executions()
    assert set(counts.values()) == {1}
    nodes = plan["nodes"]
    assert isinstance(nodes, list)
    assert set(counts) == {(node["stage"], node["id"]) for node in nodes}


def test_a_new_axis_value_runs_only_what_is_new(finished: Bench) -> None:
    shutil.copytree(finished.folder / finished.store, finished.folder / "grown")
    grown = Bench(finished.folder, store="grown")
    before = grown.executions()
    more = "evaluate.0.labels=[32, 64, all]"
    assert grown.plan(more)["to_run"] == 12
    result = grown.run(more)
    new = grown.executions() - before
    assert {stage for stage, _ in new} == {"probe"}
    # (2 pretrainings + 1 random encoder) × 2 domains × 2 draws of the new budget
    assert sum(new.values()) == 3 * 2 * 2
    assert "executed 12 probe" in result.stderr
    assert set(grown.executions().values()) == {1}


def test_results_are_the_same_in_another_store(finished: Bench) -> None:
    other = Bench(finished.folder, store="other")
    other.run()
    assert other.results() == finished.results()


def test_another_seed_gives_another_result(finished: Bench) -> None:
    other = Bench(finished.folder, store="grown")
    other.run("pretrain.0.seed=1")
    one = [line.split(",") for line in finished.results().splitlines()]
    two = [line.split(",") for line in other.results("pretrain.0.seed=1").splitlines()]
    column = one[0].index("top1")
    assert sorted(row[column] for row in one) != sorted(row[column] for row in two)
