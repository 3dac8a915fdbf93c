"""MLflow holds what the store holds, once, and its UI shows it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from bench import Bench, wait_for

pytestmark = pytest.mark.slow


def logged(database: Path) -> Counter[str]:
    with sqlite3.connect(database) as connection:
        rows = connection.execute("select value from tags where key = 'ssl_sweep.id'").fetchall()
    return Counter(value for (value,) in rows)


def test_one_run_per_training_and_per_cell_with_its_axes(finished: Bench) -> None:
    database = finished.folder / finished.store / "mlflow" / "mlflow.db"
    header, *rows = [line.split(",") for line in finished.results().splitlines()]
    cells = {row[0] for row in rows}
    trainings = {row[1] for row in rows if row[header.index("method")] == "simclr"}
    assert logged(database) == Counter([*cells, *trainings])
    with sqlite3.connect(database) as connection:
        cell = rows[0][0]
        (run,) = connection.execute("select run_uuid from tags where value = ?", [cell]).fetchone()
        params = dict(connection.execute("select key, value from params where run_uuid = ?", [run]))
        metrics = dict(connection.execute("select key, value from metrics where run_uuid = ?", [run]))
        losses = connection.execute(
            "select count(*) from metrics m join tags t using (run_uuid) where t.key = 'ssl_sweep.kind'"
            " and t.value = 'training' and m.key = 'loss'"
        ).fetchone()
    for name in ("method", "pretrain_domain", "eval_domain", "labels", "probe_seed", "encoder"):
        assert params[name] == rows[0][header.index(name)]
    finest = next(r for r in rows if r[0] == cell and r[header.index("level_index")] == "0")
    assert metrics["top1"] == pytest.approx(float(finest[header.index("top1")]))
    assert losses[0] == 2 * len(trainings)


@pytest.fixture(scope="module")
def synced(finished: Bench) -> Bench:
    """The tiny sweep in a store of its own, whose mirror was lost and written again."""
    other = Bench(finished.folder, store="lost")
    shutil.copytree(finished.folder / finished.store, other.folder / other.store)
    shutil.rmtree(other.folder / other.store / "mlflow")
    first = other.call("sync", "grid.yaml", "--store", other.store)
    assert first.stdout.strip() != "0 runs written"
    return other


def test_sync_repairs_a_mirror_that_was_lost(finished: Bench, synced: Bench) -> None:
    other = synced
    again = other.call("sync", "grid.yaml", "--store", other.store)
    assert again.stdout.strip() == "0 runs written"
    database = "mlflow/mlflow.db"
    assert logged(other.folder / other.store / database) == logged(
        finished.folder / finished.store / database
    )


def test_sync_says_when_the_server_is_down(finished: Bench) -> None:
    down = ["--tracking-uri", "http://127.0.0.1:9"]
    result = finished.call("sync", "grid.yaml", "--store", finished.store, *down, expect=1)
    assert "127.0.0.1:9" in result.stderr
    assert "hint:" in result.stderr


@pytest.mark.exhaustive
def test_the_ui_serves_the_sweep_on_this_machine_only(finished: Bench) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = finished.start("ui", "--store", finished.store, "--port", str(port))
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return urllib.request.urlopen(url, timeout=2).status == 200
        except OSError:
            return False

    try:
        wait_for(answers, 90, "the UI")
        request = urllib.request.Request(
            f"{url}/ajax-api/2.0/mlflow/experiments/search",
            data=json.dumps({"max_results": 10}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            names = {experiment["name"] for experiment in json.load(answer)["experiments"]}
        assert "tiny" in names
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_report_is_put_on_the_sweeps_run_once(finished: Bench, synced: Bench) -> None:
    other = synced
    for _ in range(2):
        said = other.call("report", "grid.yaml", "--store", other.store, "-o", "report")
        assert "report.html" in said.stdout and "not put" not in said.stdout
    page = (other.folder / "report" / "report.html").read_text()
    assert "<svg" in page and "</html>" in page
    database = other.folder / other.store / "mlflow" / "mlflow.db"
    with sqlite3.connect(database) as connection:
        found = connection.execute(
            "select artifact_uri from runs join tags using (run_uuid) where key = 'ssl_sweep.kind'"
            " and value = 'sweep' and lifecycle_stage = 'active'"
        ).fetchall()
        ((notes,),) = connection.execute(
            "select value from tags where key = 'mlflow.note.content' and value like '%#%'"
        ).fetchall()
    findings = (other.folder / "report" / "findings.md").read_text()
    assert len(found) == 1 and len(notes) > 1000 and findings.startswith(notes)  # a tag holds 5,000 letters
    kept = list((other.folder / other.store / "mlflow").rglob("report.html"))
    assert len(kept) == 1 and kept[0].read_text() == page
    before = finished.results()
    assert other.results() == before  # a report changes nothing
