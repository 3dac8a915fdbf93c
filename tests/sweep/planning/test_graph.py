from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.notes import changed_files
from ssl_sweep.sweep.planning.planner import validate_grid
from ssl_sweep.sweep.spec.specs import VERSIONS, FeatureSpec, ProbeSpec
from ssl_sweep.sweep.store.manifest import Failure

# objects and scenes and the pool, at two sizes; two random encoders for each of two domains
TRAININGS, ENCODERS, CELLS = 6, 6 + 4, (6 + 2) * 2 * 5


def waiting(plan: Plan) -> Counter[tuple[str, str]]:
    return Counter((stage.kind, stage.reason) for stage in plan.to_run)


def test_shared_stages_are_one_stage(sweeps: Any) -> None:
    plan = sweeps.prepared()
    assert len(plan.cells) == CELLS
    assert {kind: sum(count.values()) for kind, count in plan.counts.items()} == {
        "prepare": 2,
        "pretrain": ENCODERS,
        "features": 2 * (6 + 2) * 2,
        "probe": CELLS,
        "finetune": 0,
    }
    assert len(plan.pretrainings) == TRAININGS
    assert len({stage.id for stage in plan.stages}) == len(plan.stages)
    assert set(plan.cell_stages) == {cell.id for cell in plan.cells}
    assert waiting(plan) == {("pretrain", "new"): ENCODERS, ("features", "new"): 32, ("probe", "new"): CELLS}


def test_stages_come_after_what_they_need(sweeps: Any) -> None:
    seen: set[str] = set()
    for stage in sweeps.prepared().stages:
        assert set(stage.upstream) <= seen
        match stage.spec:
            case FeatureSpec():
                assert stage.spec.encoder in stage.upstream
            case ProbeSpec():
                assert stage.upstream == (*stage.spec.train_features, *stage.spec.test_features)
        seen.add(stage.id)


def test_unprepared_datasets_make_the_rest_provisional(sweeps: Any) -> None:
    plan = sweeps.plan()
    assert [(stage.kind, stage.label) for stage in plan.prepares] == [
        ("prepare", "objects"),
        ("prepare", "scenes"),
    ]
    assert all(stage.provisional for stage in plan.stages if stage.kind != "prepare")
    assert len(plan.stages) == len(sweeps.prepared().stages)
    assert not any(stage.provisional for stage in sweeps.plan().stages)
    # one of two: only what reads the other is provisional
    sweeps.store.path("prepare", plan.prepares[1].id).joinpath("manifest.json").unlink()
    half = sweeps.plan()
    assert {n.label for n in half.stages if n.trains and not n.provisional} == {
        f"simclr · objects · {n} · none · seed 0" for n in (400, 600)
    }


def test_a_finished_sweep_has_nothing_to_do_and_planning_writes_nothing(sweeps: Any) -> None:
    sweeps.finish(sweeps.prepared().to_run)
    before = sorted((str(p), p.stat().st_mtime_ns) for p in sweeps.store.root.rglob("*"))
    plan = sweeps.plan()
    assert plan.to_run == ()
    assert {stage.reason for stage in plan.stages} == {"complete"}
    assert sorted((str(p), p.stat().st_mtime_ns) for p in sweeps.store.root.rglob("*")) == before


def test_every_decision_is_logged(sweeps: Any, caplog: pytest.LogCaptureFixture) -> None:
    plan = sweeps.prepared()
    sweeps.finish(plan.to_run[:ENCODERS])
    caplog.set_level(logging.INFO, logger="ssl_sweep")
    plan = sweeps.plan()
    assert f"pretrain: {ENCODERS} taken from the store" in caplog.messages
    assert f"probe: {CELLS} to run: new" in caplog.messages
    caplog.clear()
    caplog.set_level(logging.DEBUG, logger="ssl_sweep")
    plan = sweeps.plan()
    lines = set(caplog.messages)
    for stage in plan.stages:
        decision = "to run: new" if stage.state == "to_run" else "taken from the store"
        assert f"{stage.kind} {stage.id}: {decision}" in lines


def test_cells_left_out_are_logged(sweeps: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="ssl_sweep")
    plan = sweeps.plan()
    assert not any("left out" in line for line in caplog.messages)
    text = sweeps.write().read_text()
    fewer = sweeps.plan(f"{text}\nexclude: [{{labels: 50}}]\n")
    lost = {cell.id for cell in plan.cells} - {cell.id for cell in fewer.cells}
    summary = f"{len(lost)} cells left out: excluded by {sweeps.folder}/grid.yaml:"
    assert lost and sum(line.startswith(summary) for line in caplog.messages) == 1
    for id in lost:
        line = f"cell {id} left out: excluded by {sweeps.folder}/grid.yaml:"
        assert sum(said.startswith(line) for said in caplog.messages) == 1


def test_a_grown_grid_runs_only_what_is_new(sweeps: Any) -> None:
    sweeps.finish(sweeps.prepared().to_run)
    assert waiting(sweeps.plan(sweeps.grid, "evaluate.labels=[50, 10%, all, 70]")) == {
        ("probe", "new"): 8 * 2 * 2
    }
    larger = sweeps.plan(sweeps.grid, "pretrain.0.images=[400, 600, 200]")
    assert waiting(larger) == {("pretrain", "new"): 3, ("features", "new"): 12, ("probe", "new"): 30}
    # a share that is an integer already answered adds rows and no stage
    assert sweeps.plan(sweeps.grid, "evaluate.labels=[50, 5%, 10%, all]").counts["probe"]["to_run"] == 8 * 2
    assert waiting(sweeps.plan(sweeps.grid, "pretrain.0.images=[400, 60%]")) == {
        ("pretrain", "new"): 2,
        ("features", "new"): 8,
        ("probe", "new"): 20,
    }


def test_only_results_and_what_they_need_are_made_again(sweeps: Any) -> None:
    plan = sweeps.prepared()
    sweeps.finish(plan.to_run)
    for stage in plan.stages:
        if stage.kind == "features":
            sweeps.files(stage)[0].unlink()
    assert sweeps.plan().to_run == ()
    assert {n.reason for n in sweeps.plan().stages if n.kind == "features"} == {"not needed again"}
    probe = next(stage for stage in plan.stages if stage.kind == "probe")
    sweeps.files(probe)[0].unlink()
    assert waiting(sweeps.plan()) == {("features", "missing"): 2, ("probe", "missing"): 1}
    encoder = plan.pretrainings[0]
    sweeps.store.path("pretrain", encoder.id).joinpath("manifest.json").unlink()
    assert waiting(sweeps.plan())[("pretrain", "missing")] == 1


def test_failed_stages_run_again_and_say_so(sweeps: Any) -> None:
    plan = sweeps.prepared()
    failed = plan.pretrainings[0]
    sweeps.store.fail("pretrain", failed.id, Failure(kind="diverged", message="loss is nan"))
    assert waiting(sweeps.plan())[("pretrain", "failed before")] == 1
    sweeps.finish([failed])
    assert sweeps.plan().by_id[failed.id].reason == "complete"


def raise_version(monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    raised = MappingProxyType({**VERSIONS, stage: 2})
    for module in ("spec.identity", "planning.reasons", "store.store"):
        monkeypatch.setattr(f"ssl_sweep.sweep.{module}.VERSIONS", raised)


def test_a_raised_version_runs_its_stage_and_all_below(sweeps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sweeps.finish(sweeps.prepared().to_run)
    raise_version(monkeypatch, "features")
    assert waiting(sweeps.plan()) == {
        ("features", "version raised"): 32,
        ("probe", "upstream changed"): CELLS,
    }
    sweeps.finish(sweeps.plan().to_run)
    assert sweeps.plan().to_run == ()
    more = sweeps.plan(sweeps.grid, "evaluate.labels=[50, 70]")
    assert waiting(more) == {("probe", "new"): 32}


def test_changed_images_are_a_changed_upstream(sweeps: Any) -> None:
    folder = sweeps.folder / "images"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for i in range(40):
            (folder / name / f"{i}.png").write_bytes(b"not decoded by a plan")
    grid = (
        "name: x\ndatasets: {d: {source: folder, train: images, test_fraction: 0.5}}\n"
        "pretrain: {domain: d, images: 30, batch: 8}\nevaluate: {domain: d, labels: 20}\n"
    )
    for stage in sweeps.plan(grid).prepares:
        sweeps.commit(stage, sweeps.outputs(stage, fingerprint="before", n_train=40, n_test=40))
    sweeps.finish(sweeps.plan(grid).to_run)
    assert sweeps.plan(grid).to_run == ()
    assert changed_files(sweeps.plan(grid).prepares) == ""
    (folder / "cat" / "0.png").write_bytes(b"another picture")
    changed = {
        ("pretrain", "upstream changed"): 1,
        ("features", "upstream changed"): 2,
        ("probe", "upstream changed"): 1,
    }
    assert waiting(sweeps.plan(grid)) == {("prepare", "upstream changed"): 1, **changed}
    assert "The files of d changed, or were copied" in changed_files(sweeps.plan(grid).prepares)
    (prepare,) = sweeps.plan(grid).prepares
    sweeps.commit(prepare, sweeps.outputs(prepare, fingerprint="after", n_train=40, n_test=40))
    assert waiting(sweeps.plan(grid)) == changed
    # a file written again with the same content prepares to the same fingerprint, and nothing else runs
    (folder / "cat" / "1.png").write_bytes(b"yet another picture")
    (prepare,) = sweeps.plan(grid).prepares
    sweeps.commit(prepare, sweeps.outputs(prepare, fingerprint="before", n_train=40, n_test=40))
    assert sweeps.plan(grid).to_run == ()


def test_what_a_large_probe_takes_is_said_beforehand(sweeps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for stage in sweeps.plan().prepares:
        sweeps.commit(stage, sweeps.outputs(stage, class_counts=[[80] * 10, [400, 400]]))
    assert sweeps.plan().notes == ()
    monkeypatch.setattr("ssl_sweep.sweep.planning.planner._LARGE_BYTES", 2.7 * 1000 * 10 * 8 - 1)
    (note,) = sweeps.plan().notes
    assert note.text.startswith("memory: a linear probe on 1,000 labels of 10 classes takes about")
    monkeypatch.setattr("ssl_sweep.sweep.planning.planner._LARGE_BYTES", 2.7 * 1000 * 10 * 8)
    assert sweeps.plan().notes == ()


def test_another_spec_under_the_same_id_is_an_error(sweeps: Any) -> None:
    plan = sweeps.prepared()
    sweeps.finish(plan.to_run)
    encoder = plan.pretrainings[0]
    path = sweeps.store.path("pretrain", encoder.id) / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["spec"]["config"]["temperature"] = 0.07
    del manifest["manifest_sha256"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(
        StoreError, match=rf"pretrain {encoder.id} .*\n  config.temperature: stored 0.07, asked "
    ):
        sweeps.plan()


def test_the_same_images_under_two_names_are_trained_on_once(sweeps: Any) -> None:
    grid = (
        "name: x\n"
        "datasets: {one: {source: synthetic, domain: objects}, two: {source: synthetic, domain: objects}}\n"
        "pretrain: {domain: [one, two], images: 500}\nevaluate: {domain: [one, two], labels: 50}\n"
    )
    plan = sweeps.prepared(grid)
    assert (len(plan.cells), len(plan.pretrainings), plan.counts["probe"]["to_run"]) == (4, 1, 1)
    assert plan.stages[0].label == "one, two"


def test_json(sweeps: Any) -> None:
    plan = sweeps.prepared()
    document = json.loads(json.dumps(plan.to_json()))
    assert {
        key: document[key]
        for key in ("schema_version", "cells", "stages", "pretrainings", "to_run", "complete")
    } == {
        "schema_version": 1,
        "cells": CELLS,
        "stages": 2 + ENCODERS + 32 + CELLS,
        "pretrainings": TRAININGS,
        "to_run": ENCODERS + 32 + CELLS,
        "complete": 2,
    }
    assert {"id", "stage", "reason", "spec"} <= set(document["nodes"][0])


def test_planning_is_light_and_quick(tmp_path: Path) -> None:
    """10,000 cells in under two seconds of one core, and none of the heavy packages loaded for it."""
    grid = tmp_path / "grid.yaml"
    seeds = ", ".join(map(str, range(50)))
    grid.write_text(
        "name: x\n"
        "datasets: {a: {source: synthetic, domain: objects}, b: {source: synthetic, domain: scenes}}\n"
        f"pretrain: {{domain: [a, b], images: [500, 1000], seed: [{seeds}]}}\n"
        "evaluate: {domain: [a, b], labels: [50, 100, 200, 400, 800], seed: [0, 1, 2, 3, 4]}\n"
    )
    code = f"""
import sys, time
from ssl_sweep.sweep.cost import estimate
from ssl_sweep.sweep.planning.planner import plan_grid
from ssl_sweep.sweep.results import status, table
from ssl_sweep.sweep.store.store import Store
started = time.process_time()
_, plan = plan_grid({str(grid)!r}, (), Store({str(tmp_path / "store")!r}))
heavy = {{"torch", "ray", "mlflow", "sklearn", "nvidia", "PIL", "pandas"}} & set(sys.modules)
print(len(plan.cells), time.process_time() - started, heavy)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    cells, seconds, heavy = done.stdout.split(maxsplit=2)
    assert (cells, heavy.strip()) == ("10000", "set()")
    assert float(seconds) < 2


def test_validation_needs_no_store(sweeps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sweeps.folder)
    assert validate_grid(sweeps.write()).endswith(
        f"is valid: {CELLS} cells, {TRAININGS} pretrainings, 2 datasets"
    )
    assert [path.name for path in sweeps.folder.iterdir()] == ["grid.yaml"]


def test_compute_settings_are_in_no_identity(sweeps: Any) -> None:
    ids = {stage.id for stage in sweeps.prepared().stages}
    changed = sweeps.plan(
        sweeps.grid, "compute={workers: 2, backend: torch, checkpoint_every_s: 5}", "name=other"
    )
    assert {stage.id for stage in changed.stages} == ids
