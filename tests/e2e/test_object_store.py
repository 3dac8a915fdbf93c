"""A whole sweep in a bucket of a real S3 server: by the command line on Ray, and killed and resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from bench import Bench, wait_for
from s3_server import S3

from ssl_sweep.sweep.datasets.commands import export_subset
from ssl_sweep.sweep.inspect.verify import verify
from ssl_sweep.sweep.planning.planner import plan_in
from ssl_sweep.sweep.results.report_table import results_with_evidence
from ssl_sweep.sweep.results.table import results
from ssl_sweep.sweep.stages.encoder_card import export_encoder
from ssl_sweep.sweep.store.store import Store

pytestmark = pytest.mark.exhaustive

LIGHT = Path(__file__).parents[1] / "helpers" / "light_run.py"
GRID = """
name: tiny
datasets:
  objects: {source: synthetic, domain: objects, train: 128, test: 64}
pretrain:
  - {domain: objects, images: 64, epochs: 40, batch: 32}
evaluate:
  - {domain: objects, labels: 32}
  - {domain: objects, labels: 32, protocol: fine-tune, finetune_steps: 4}
compute: {checkpoint_every_steps: 10}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, s3_server: S3) -> Bench:
    """The sweep, run once by the command line."""
    folder = tmp_path_factory.mktemp("objects")
    made = Bench(
        folder, f"{s3_server.bucket()}/study", s3_server.env | {"SSL_SWEEP_CACHE": str(folder / "cache")}
    )
    made.write(GRID)
    said = made.run().stderr
    assert f"MLflow's database of this store is on this machine, in {folder}/cache/stores/" in said
    return made


@pytest.fixture
def node(finished: Bench, s3: S3) -> Bench:
    """Another node: its cache is empty. In this process too."""
    return Bench(finished.folder, finished.store, s3.env | {"SSL_SWEEP_CACHE": os.environ["SSL_SWEEP_CACHE"]})


def test_nothing_is_left_to_do_and_every_stage_was_done_once(stage: Bench) -> None:
    plan, store = plan_in(stage.folder / "grid.yaml", (), stage.store)
    assert not plan.to_run and len(plan.stages) == 6
    assert Counter((e.stage, e.id) for e in store.executions()) == Counter(
        (n.kind, n.id) for n in plan.stages
    )
    found = verify(stage.store, stage.folder / "grid.yaml")
    assert (found.stages, found.damages, found.without_checksum) == (6, (), 0)
    assert store.storage.names("stop") == [] and store.storage.names("leases") == []
    assert not [
        name for n in plan.stages for name in store.storage.names(f"{n.kind}/{n.id}") if "checkpoint" in name
    ]


def test_another_node_reads_results_encoders_and_subsets(stage: Bench, tmp_path: Path) -> None:
    grid = stage.folder / "grid.yaml"
    plan, store = plan_in(grid, (), stage.store)
    table = results_with_evidence(plan, store)
    assert set(table["status"].to_pylist()) == {"complete"} and None not in table["hits"].to_pylist()
    (trained,) = plan.pretrainings
    assert "mine.safetensors" in export_encoder(trained.id, stage.store, tmp_path / "mine.safetensors")
    assert json.loads((tmp_path / "mine.json").read_text())["pretrain_id"] == trained.id
    ids = export_subset(grid, (), stage.store, "objects", "64", 0)
    assert len(set(ids)) == 64
    for name in ("subset.npy", "images.png", "epochs.jsonl", "log.txt"):
        assert store.extra("pretrain", trained.id, name) is not None, name
    assert not list(store.root.glob("prepare/*/data/train.npy")), "images were fetched to name some"


def test_the_mirror_is_in_the_cache(finished: Bench, stage: Bench) -> None:
    (database,) = (finished.folder / "cache").glob("stores/*/mlflow/mlflow.db")
    with sqlite3.connect(database) as connection:
        tags = connection.execute("select value from tags where key = 'ssl_sweep.id'").fetchall()
        (losses,) = connection.execute("select count(*) from metrics where key = 'loss'").fetchone()
    plan, _ = plan_in(stage.folder / "grid.yaml", (), stage.store)
    assert {tag for (tag,) in tags} == {*plan.cell_stages, *(n.id for n in plan.pretrainings)}
    assert losses == 40


def test_a_driver_killed_in_the_middle_goes_on_on_another_node(
    finished: Bench, s3: S3, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, f"{s3.bucket()}/killed", s3.env)
    bench.write(GRID)
    store = Store(bench.store)

    def start() -> subprocess.Popen[str]:
        arguments = [
            sys.executable,
            str(LIGHT),
            "grid.yaml",
            "--store",
            bench.store,
            "--real",
            "--without-mirror",
            "--workers",
            "1",
        ]
        return subprocess.Popen(
            arguments,
            cwd=bench.folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def checkpoint() -> bool:
        return any(
            store.there(f"pretrain/{id}/checkpoint/checkpoint.pt") for id in store.storage.names("pretrain")
        )

    first = start()
    wait_for(checkpoint, 120, "a checkpoint in the bucket")
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    shutil.rmtree(tmp_path / "cache")
    second = start()
    _, said = second.communicate(timeout=180)
    assert second.returncode == 0, said
    plan, store = plan_in(bench.folder / "grid.yaml", (), bench.store)
    assert results(plan, store) == results(*plan_in(finished.folder / "grid.yaml", (), finished.store))
    assert set(Counter((e.stage, e.id) for e in store.executions()).values()) == {1}
    (trained,) = plan.pretrainings
    epochs = store.extra("pretrain", trained.id, "epochs.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in epochs] == list(range(40))
    log = store.extra("pretrain", trained.id, "log.txt").read_text()
    assert log.count(" started on ") == 2 and log.count(" epoch 0 ") == 1, log[:2000]
