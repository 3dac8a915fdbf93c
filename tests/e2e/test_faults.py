"""Kills, stops and broken inputs: finished work stays, the rest continues, and the user is informed."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
from collections import Counter

import pytest
from bench import Bench, wait_for

pytestmark = pytest.mark.slow


def test_kill_9_of_the_driver_at_random_moments(finished: Bench, bench: Bench) -> None:
    chance = random.Random(20211)
    for _ in range(3):
        process = bench.start("run", "grid.yaml", "--store", bench.store)
        try:
            process.communicate(timeout=chance.uniform(5, 16))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
    bench.run()
    assert bench.results() == finished.results()
    assert set(bench.executions().values()) == {1}
    store = bench.folder / bench.store
    assert not [p for p in store.rglob("*") if p.name.endswith((".tmp", ".partial")) or ".stop-" in p.name]
    with sqlite3.connect(store / "mlflow" / "mlflow.db") as database:
        tags = database.execute("select value from tags where key = 'ssl_sweep.id'").fetchall()
    cells = {line.split(",")[0] for line in bench.results().splitlines()[1:]}
    logged = Counter(tag for (tag,) in tags)
    assert cells <= set(logged)
    assert set(logged.values()) == {1}


@pytest.mark.exhaustive
def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(finished: Bench, bench: Bench) -> None:
    slow = "pretrain.0.epochs=2000"
    process = bench.start("run", "grid.yaml", slow, "--store", bench.store)
    folder = bench.folder / bench.store / "pretrain"
    logs = folder.glob  # the short training may come first
    wait_for(lambda: any(p.read_text().count("\n") > 2 for p in logs("*/epochs.jsonl")), 240, "a third epoch")
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "to continue: ssl-sweep run grid.yaml pretrain.0.epochs=2000" in err
    assert list(folder.glob("*/checkpoint*")), "no checkpoint was left"
    states = Counter(stage["state"] for stage in bench.plan(slow)["nodes"])  # type: ignore[attr-defined]
    assert states["to_run"] > 0


@pytest.mark.exhaustive
def test_a_corrupt_image_fails_its_dataset_and_the_rest_goes_on(bench: Bench) -> None:
    from PIL import Image

    for split in ("train", "test"):
        for name in ("cat", "dog"):
            folder = bench.folder / "pets" / split / name
            folder.mkdir(parents=True)
            for i in range(8):
                colour = (i * 20, 90 if name == "cat" else 10, len(split))
                Image.new("RGB", (40, 40), colour).save(folder / f"{i}.png")
    (bench.folder / "pets" / "train" / "cat" / "3.png").write_bytes(b"\x89PNG broken")
    bench.write(
        """
        name: pets
        datasets:
          objects: {source: synthetic, domain: objects, train: 128, test: 64}
          pets: {source: folder, train: pets/train, test: pets/test}
        pretrain:
          - {domain: objects, images: 64, epochs: 1, batch: 32}
        evaluate:
          - {domain: [objects, pets], labels: 16}
        """
    )
    result = bench.run(expect=1)
    assert "3.png" in result.stderr
    rows = [line.split(",") for line in bench.results().splitlines()]
    status, domain = rows[0].index("status"), rows[0].index("eval_domain")
    assert {row[status] for row in rows[1:] if row[domain] == "objects"} == {"complete"}
    assert {row[status] for row in rows[1:] if row[domain] == "pets"}.isdisjoint({"complete"})
    errors = list((bench.folder / bench.store).glob("*/*/error.json"))
    assert [path.parent.parent.name for path in errors] == ["prepare"], "a dependant was started"
    failure = json.loads(errors[0].read_text())
    assert failure["kind"] == "data"
    assert "3.png" in failure["message"]
    shown = bench.call("status", "grid.yaml", "--store", bench.store)
    assert "3.png" in shown.stdout
    # Mended, the same command finishes the sweep.
    Image.new("RGB", (40, 40), (1, 2, 3)).save(bench.folder / "pets" / "train" / "cat" / "3.png")
    before = bench.executions()
    bench.run()
    assert set(bench.executions().values()) == {1}
    assert not [key for key in bench.executions() - before if key[0] == "pretrain"]


def test_a_tracking_server_that_is_down_costs_nothing_but_the_mirror(finished: Bench) -> None:
    result = finished.call(
        "run", "grid.yaml", "--store", finished.store, "--tracking-uri", "http://127.0.0.1:9", timeout=120
    )
    assert "MLflow is behind" in result.stderr
    assert "ssl-sweep sync grid.yaml" in result.stderr
    assert "executed 0 stages" in result.stderr
