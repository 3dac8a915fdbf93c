from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from ssl_sweep.sweep.commands.render import print_table
from ssl_sweep.sweep.planning.columns import AXES
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.results.summary import summary
from ssl_sweep.sweep.results.table import SCHEMA, finished_rows, results, write_results
from ssl_sweep.sweep.spec.specs import PretrainSpec
from ssl_sweep.sweep.store.manifest import Failure

REQUIRED = [
    "cell_id",
    "pretrain_id",
    "method",
    "pretrain_domain",
    "images",
    "corruption",
    "encoder",
    "epochs",
    "batch",
    "subset_seed",
    "pretrain_seed",
    "eval_domain",
    "labels",
    "n_labels",
    "draw",
    "protocol",
    "level",
    "probe_seed",
    "top1",
    "top1_std_err",
    "top5",
    "balanced_accuracy",
    "n_test",
    "status",
]


def written(plan: Plan, store: Any, form: str) -> bytes:
    stream = io.BytesIO()
    write_results(results(plan, store), form, stream)
    return stream.getvalue()


def test_one_row_per_cell_and_level_in_order(sweeps: Any) -> None:
    sweeps.finish(sweeps.prepared().to_run)
    plan = sweeps.plan()
    table = results(plan, sweeps.store)
    assert table.column_names[: len(REQUIRED)] == REQUIRED
    rows = table.to_pylist()
    assert len(rows) == 2 * len(plan.cells)
    assert [(row["cell_id"], row["level"]) for row in rows] == sorted(
        (row["cell_id"], row["level"]) for row in rows
    )
    assert len({(row["cell_id"], row["level"]) for row in rows}) == len(rows)
    assert {row["status"] for row in rows} == {"complete"}
    assert {(row["level"], row["level_index"]) for row in rows} == {("class", 0), ("group", 1)}
    assert (rows[0]["top1"], rows[0]["n_test"]) == (0.5, 200)
    assert not {"seconds", "started", "time", "host"} & set(table.column_names)


def test_rows_say_what_a_cell_is(sweeps: Any) -> None:
    plan = sweeps.prepared()
    rows = {row["cell_id"]: row for row in results(plan, sweeps.store).to_pylist()}
    pool = next(c for c in plan.cells if c.pretraining.domain == "objects+scenes" and c.labels.text == "10%")
    row = rows[pool.id]
    assert (row["method"], row["pretrain_domain"], row["images"], row["labels"], row["n_labels"]) == (
        "simclr",
        "objects+scenes",
        400,
        "10%",
        100,
    )
    assert (row["epochs"], row["batch"], row["corruption"], row["protocol"], row["draw"]) == (
        2,
        64,
        "none",
        "linear",
        "uniform",
    )
    floor = rows[next(c for c in plan.cells if not c.pretraining.trained).id]
    assert (floor["pretrain_domain"], floor["images"], floor["method"]) == ("", None, "random")
    assert [floor[name] for name in ("epochs", "batch", "corruption", "subset_seed", "learning_rate")] == [
        None
    ] * 5
    assert set(AXES) <= set(SCHEMA.names)


def test_formats_hold_the_same_rows_and_the_same_bytes(sweeps: Any) -> None:
    sweeps.finish(sweeps.prepared().to_run, top1=1 / 3, top5=float("nan"))
    first, again = sweeps.plan(), sweeps.plan()
    rows = results(first, sweeps.store).to_pylist()
    for form in ("table", "csv", "json", "parquet"):
        assert written(first, sweeps.store, form) == written(again, sweeps.store, form)
    assert json.loads(written(first, sweeps.store, "json")) == rows
    assert pq.read_table(io.BytesIO(written(first, sweeps.store, "parquet"))).to_pylist() == rows
    read = list(csv.DictReader(io.StringIO(written(first, sweeps.store, "csv").decode())))
    assert [float(row["top1"]) for row in read] == [row["top1"] for row in rows]
    assert {row["top5"] for row in read} == {""}
    assert [row["labels"] for row in read] == [row["labels"] for row in rows]
    assert len(written(first, sweeps.store, "table").splitlines()) == len(rows) + 1
    with pytest.raises(ValueError, match="no format 'xml'"):
        written(first, sweeps.store, "xml")


def test_unfinished_cells_have_a_status_instead_of_numbers(sweeps: Any) -> None:
    unprepared = results(sweeps.plan(), sweeps.store).to_pylist()
    assert {(row["status"], row["level"], row["top1"]) for row in unprepared} == {("missing", None, None)}
    plan = sweeps.prepared()
    failed = plan.pretrainings[0]
    probe = next(stage for stage in reversed(plan.stages) if stage.kind == "probe")
    sweeps.store.fail("pretrain", failed.id, Failure(kind="diverged", message="loss is nan"))
    sweeps.store.fail("probe", probe.id, Failure(kind="data", message="no"))
    others = [n for n in plan.to_run if n.kind == "pretrain" and n.id != failed.id]
    done = next(n for n in plan.to_run if n.kind == "features" and n.spec.encoder == others[-1].id)
    finished = next(c for c in plan.cells if done.id in (*c.probe.train_features, *c.probe.test_features))
    sweeps.finish([plan.by_id[finished.probe_id]])
    now = results(sweeps.plan(), sweeps.store).to_pylist()
    by_status = {
        status: [row for row in now if row["status"] == status]
        for status in ("complete", "failed", "blocked", "missing")
    }
    assert len(by_status["complete"]) == len(by_status["failed"]) == 2
    assert {row["pretrain_id"] for row in by_status["blocked"]} == {failed.id}
    assert len(by_status["blocked"]) == 2 * 10
    assert sum(map(len, by_status.values())) == len(now)
    assert all(row["top1"] is None and row["n_test"] is None for row in now if row["status"] != "complete")
    manifest = sweeps.store.complete("probe", finished.probe_id)
    assert [row["level"] for row in finished_rows(finished, manifest)] == ["class", "group"]


def test_cells_that_share_a_probe_share_its_numbers(sweeps: Any) -> None:
    sweeps.finish(sweeps.prepared(sweeps.grid, "evaluate.labels=[100, 10%]").to_run)
    plan = sweeps.plan(sweeps.grid, "evaluate.labels=[100, 10%]")
    objects = [
        row
        for row in results(plan, sweeps.store).to_pylist()
        if row["eval_domain"] == "objects" and row["level_index"] == 0
    ]
    assert sorted({row["labels"] for row in objects}) == ["10%", "100"]
    assert plan.counts["probe"]["complete"] == (8 * 2) * 1 + (8 * 2) * 2


def test_the_summary_averages_probe_seeds_before_encoders(sweeps: Any) -> None:
    overrides = (
        "evaluate.labels=[50, 500]",
        "pretrain.0.seed=[0, 1, 2]",
        "pretrain.0.domain=objects",
        "pretrain.0.images=400",
    )
    plan = sweeps.prepared(sweeps.grid, *overrides)
    sweeps.finish(stage for stage in plan.to_run if stage.kind != "probe")
    cells = {cell.probe_id: cell for cell in plan.cells}
    for stage in plan.to_run:
        if stage.kind == "probe":
            cell = cells[stage.id]
            encoder: PretrainSpec = cell.pretraining.spec
            trained = 0.1 * encoder.config.seed if cell.pretraining.trained else -0.2
            sweeps.finish([stage], top1=0.4 + trained + 0.02 * cell.probe.seed + (cell.labels.text == "50"))
    rows = summary(results(sweeps.plan(sweeps.grid, *overrides), sweeps.store))
    assert [(row.pretraining[:3], row.eval_domain, row.n_labels, row.n) for row in rows] == [
        (("random", "", ""), "objects", 500, 2),
        (("random", "", ""), "scenes", 500, 2),
        (("simclr", "objects", "400"), "objects", 500, 3),
        (("simclr", "objects", "400"), "scenes", 500, 3),
    ]
    assert rows[2].mean == pytest.approx(0.51)
    assert rows[2].std == pytest.approx(0.1)
    assert rows[0].std == pytest.approx(0.0, abs=1e-9)


def test_the_summary_keeps_settings_apart(sweeps: Any) -> None:
    overrides = ("pretrain.0.temperature=[0.1, 0.5]", "pretrain.0.domain=objects", "pretrain.0.images=400")
    sweeps.finish(sweeps.prepared(sweeps.grid, *overrides).to_run)
    rows = summary(results(sweeps.plan(sweeps.grid, *overrides), sweeps.store))
    assert [row.pretraining[-1] for row in rows if row.eval_domain == "scenes"] == [
        "resnet-demo",
        "resnet-demo, temperature 0.1",
        "resnet-demo, temperature 0.5",
    ]
    assert [row.std for row in rows if row.pretraining[0] == "simclr"] == [None] * 4
    assert all(math.isclose(row.mean, 0.5) for row in rows)
    assert summary(results(sweeps.plan(sweeps.grid, "name=other", "evaluate.labels=77"), sweeps.store)) == []


def test_no_two_rows_on_the_screen_are_alike(sweeps: Any) -> None:
    overrides = (
        "pretrain.0.temperature=[0.1, 0.5]",
        "pretrain.0.domain=objects",
        "pretrain.0.images=400",
        "evaluate.protocol=[linear, knn]",
        "evaluate.knn_k=[5, 200]",
    )
    sweeps.finish(sweeps.prepared(sweeps.grid, *overrides).to_run)
    table = results(sweeps.plan(sweeps.grid, *overrides), sweeps.store)
    screen = io.StringIO()
    print_table(table, Console(file=screen, width=400))
    lines = screen.getvalue().splitlines()
    assert len(lines) == len(set(lines)) == table.num_rows + 1  # metrics are the same in every row
    assert [line.split()[0] for line in lines[1:]] == sorted(line.split()[0] for line in lines[1:])


def test_the_summary_keeps_protocols_apart(sweeps: Any) -> None:
    text = sweeps.grid.replace(
        "labels: [50, 10%, all]", "labels: all\n    protocol: [linear, fine-tune]\n    finetune_steps: 5"
    )
    plan = sweeps.prepared(text)
    for stage in plan.to_run:
        if stage.kind == "probe":
            sweeps.finish([stage], top1=0.5)
        elif stage.kind == "finetune":
            sweeps.commit(stage, {**sweeps.outputs(plan_probe(plan)), "levels": levels(0.9)})
        else:
            sweeps.finish([stage])
    found = summary(results(sweeps.plan(text), sweeps.store))
    shown = {("fine-tune" in row.pretraining[-1], row.mean) for row in found}
    assert shown == {(False, 0.5), (True, 0.9)}


def plan_probe(plan: Any) -> Any:
    return next(stage for stage in plan.stages if stage.kind == "probe")


def levels(top1: float) -> dict[str, Any]:
    numbers = {"top1": top1, "top1_std_err": 0.01, "top5": 1.0, "balanced_accuracy": top1, "n_test": 200}
    return {level: numbers for level in ("class", "group")}
