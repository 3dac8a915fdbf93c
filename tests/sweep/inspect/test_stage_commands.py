"""`explain`, `logs`, `retry` on stores whose stages are finished, failed or held by decree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ssl_sweep import cli
from ssl_sweep.sweep.errors import StoreError, UsageError
from ssl_sweep.sweep.store.leases import driving
from ssl_sweep.sweep.store.log import LOG_FILE
from ssl_sweep.sweep.store.manifest import Failure

DRIVER = """
import os, sys
from ssl_sweep.sweep.store.leases import Leases
from ssl_sweep.sweep.store.store import Store
leases = Leases(Store(sys.argv[1]).storage)
leases.beat()
assert leases.take("pretrain", sys.argv[2])
os._exit(9)
"""


@pytest.fixture
def call(sweeps: Any) -> Any:
    """The command line on the fixture's store, in this process."""

    def called(*words: str, store: bool = True) -> Result:
        where = ["--store", str(sweeps.store.root)] if store else []
        result = CliRunner().invoke(cli.cli, [*words, *where])
        if not isinstance(result.exception, None | SystemExit | UsageError):
            raise result.exception
        return result

    return called


@pytest.fixture
def broken(sweeps: Any) -> Any:
    """A sweep with one finished and one failed training, and answers on the finished one; its plan."""
    plan = sweeps.prepared()
    good, bad = plan.pretrainings[:2]
    sweeps.finish([good])
    features = [n for n in plan.to_run if n.kind == "features" and n.spec.encoder == good.id]
    sweeps.finish(features)
    ids = {stage.id for stage in features}
    sweeps.finish([n for n in plan.to_run if n.kind == "probe" and ids.issuperset(n.upstream)][:3])
    sweeps.store.path("pretrain", bad.id).mkdir(parents=True)
    (sweeps.store.path("pretrain", bad.id) / LOG_FILE).write_text("epoch 0 loss 5.1\nepoch 1 loss nan\n")
    failure = Failure(kind="diverged", message="the loss is nan", attempt=1, log_tail="line of a traceback")
    sweeps.store.fail("pretrain", bad.id, failure)
    return sweeps.plan()


@pytest.mark.smoke
def test_explain_a_cell_and_the_stages_it_came_from(sweeps: Any, broken: Any, call: Any) -> None:
    grid = str(sweeps.folder / "grid.yaml")
    done = next(c for c in broken.cells if broken.by_id[c.probe_id].state == "complete")
    said = json.loads(call("explain", grid, done.id, "--json").output)
    assert (said["stage"], said["id"], said["cell"]) == ("probe", done.probe_id, done.id)
    assert said["state"] == "complete"
    assert said["settings"]["n_labels"] == done.probe.n_labels and "imbalance" not in said["settings"]
    features = {one["id"] for one in said["upstream"]}
    assert features == {*done.probe.train_features, *done.probe.test_features}
    above = {one["id"]: one for feature in said["upstream"] for one in feature["upstream"]}
    assert above[done.pretraining.id]["state"] == "complete"
    assert above[done.pretraining.id]["upstream"][0]["stage"] == "prepare"
    assert said["cells"] == [c.id for c in broken.cells if c.probe_id == done.probe_id]
    assert said["run"]["hardware"] == "a processor" and sum(said["files"].values()) == len(b"result")
    # Without the grid, by the beginning of the stage's id, from manifests alone.
    alone = json.loads(call("explain", done.probe_id[:6], "--json").output)
    assert {one["id"] for one in alone["upstream"]} == features
    assert alone["settings"] == said["settings"] and alone["what"] == said["what"]
    shown = call("explain", grid, done.pretraining.id).output
    digest = done.pretraining.spec.images[:10]
    words = (
        f"SimCLR, resnet-demo, 32 px, these 400 images (digest {digest}) (epochs: 2, batches of 64, seed 0)"
    )
    assert words in " ".join(shown.split())
    assert "needed by" in shown and "cells" in shown


def test_explain_says_why_a_stage_waits(sweeps: Any, broken: Any, call: Any) -> None:
    grid = str(sweeps.folder / "grid.yaml")
    bad, waiting = broken.pretrainings[1], broken.pretrainings[2]
    failed = json.loads(call("explain", grid, bad.id, "--json").output)
    assert failed["state"] == "failed" and "diverged, attempt 1): the loss is nan" in failed["why"]
    assert failed["downstream"] == {"features": 4, "probe": 10} and len(failed["cells"]) == 10
    blocked = next(n for n in broken.stages if n.kind == "features" and bad.id in n.upstream)
    said = json.loads(call("explain", grid, blocked.id, "--json").output)
    assert said["state"] == "blocked" and f"pretrain {bad.id} (failed)" in said["why"]
    below = next(n for n in broken.stages if n.kind == "features" and waiting.id in n.upstream)
    said = json.loads(call("explain", grid, below.id, "--json").output)
    assert said["state"] == "to_run" and f"waits for pretrain {waiting.id} (to run)" in said["why"]
    sweeps.finish([waiting])
    (sweeps.store.path("pretrain", waiting.id) / "manifest.json").write_text("{ torn")
    assert "damaged" in json.loads(call("explain", grid, waiting.id, "--json").output)["why"]


def test_what_a_live_driver_holds_is_running_and_is_not_reopened(sweeps: Any, broken: Any, call: Any) -> None:
    grid = str(sweeps.folder / "grid.yaml")
    bad = broken.pretrainings[1]
    with driving(sweeps.store.storage) as leases:
        assert leases.take("pretrain", bad.id)
        found = json.loads(call("status", grid, "--json").output)
        assert found["counts"]["pretrain"]["running"] == 1 and found["failures"] == []
        (running,) = found["running"]
        assert running["id"] == bad.id and running["driver"] == leases.driver
        assert leases.driver in call("status", grid).output
        said = json.loads(call("explain", bad.id, "--json").output)
        assert said["state"] == "running" and leases.driver in said["why"]
        refused = call("retry", bad.id)
        assert isinstance(refused.exception, UsageError) and "is running" in str(refused.exception)
    # A driver that was killed holds nothing.
    subprocess.run([sys.executable, "-c", DRIVER, sweeps.store.root, bad.id], check=False, timeout=60)
    assert json.loads(call("status", grid, "--json").output)["counts"]["pretrain"]["failed"] == 1


def test_logs_show_the_log_and_the_failure(sweeps: Any, broken: Any, call: Any) -> None:
    bad = broken.pretrainings[1]
    shown = call("logs", bad.id[:5])
    assert shown.exit_code == 0
    for text in ("epoch 1 loss nan", "diverged, attempt 1", "the loss is nan", "line of a traceback"):
        assert text in shown.output
    assert "run the sweep again" in shown.output
    quiet = call("logs", broken.pretrainings[0].id)
    assert quiet.exit_code == 0 and "has no log" in quiet.output


def test_logs_follow_until_the_stage_is_let_go(sweeps: Any, broken: Any, call: Any) -> None:
    log = sweeps.store.path("pretrain", broken.pretrainings[1].id) / LOG_FILE
    with driving(sweeps.store.storage) as leases:
        assert leases.take("pretrain", broken.pretrainings[1].id)

        def work() -> None:
            for epoch in (2, 3):
                time.sleep(0.7)
                with log.open("a") as file:
                    file.write(f"epoch {epoch} loss 4.0\n")
            leases.release("pretrain", broken.pretrainings[1].id)

        worker = threading.Thread(target=work)
        worker.start()
        shown = call("logs", broken.pretrainings[1].id, "--follow").output
        worker.join()
    assert [line for line in shown.splitlines() if line.startswith("epoch")] == [
        "epoch 0 loss 5.1",
        "epoch 1 loss nan",
        "epoch 2 loss 4.0",
        "epoch 3 loss 4.0",
    ]


@pytest.mark.smoke
def test_retry_reopens_what_failed(sweeps: Any, broken: Any, call: Any) -> None:
    grid = str(sweeps.folder / "grid.yaml")
    bad, other = broken.pretrainings[1], broken.pretrainings[2]
    sweeps.store.fail("pretrain", other.id, Failure(kind="oom", message="full", attempt=1))
    refused = call("retry", grid, bad.id, broken.pretrainings[0].id)
    assert isinstance(refused.exception, UsageError) and "did not fail" in str(refused.exception)
    assert sweeps.store.failure("pretrain", bad.id) is not None  # nothing is reopened by halves
    said = call("retry", grid, bad.id)
    assert f"reopened pretrain {bad.id} (diverged, attempt 1); it blocks 14 stages" in said.output
    assert sweeps.store.failure("pretrain", bad.id) is None
    assert sweeps.store.failure("pretrain", other.id) is not None
    assert f"reopened pretrain {other.id} (oom" in call("retry", "--failed").output
    assert "no stage failed" in call("retry", "--failed").output
    assert {n.reason for n in sweeps.plan().pretrainings if n.state == "to_run"} == {"new"}


def test_ids_that_do_not_name_one_thing(sweeps: Any, broken: Any, call: Any) -> None:
    grid = str(sweeps.folder / "grid.yaml")

    def refused(*words: str) -> str:
        error = call(*words).exception
        assert isinstance(error, UsageError) and error.exit_code == 2 and error.hint
        return str(error)

    assert "too short" in refused("explain", "ab")
    assert "no stage or cell 'ffffzz' in the store" in refused("logs", "ffffzz")
    assert "two grids" in refused("explain", grid, str(grid), broken.cells[0].id)
    assert "no grid was given" in refused("explain", "pretrain.epochs=3", broken.cells[0].id)
    assert "0 ids" in refused("logs", grid)
    twin = sweeps.store.path("probe", broken.pretrainings[0].id[:8] + "zz")
    twin.mkdir(parents=True)
    found = refused("explain", broken.pretrainings[0].id[:8])
    assert f"pretrain {broken.pretrainings[0].id}" in found and twin.name in found
    assert "no stage or cell" in refused("explain", broken.cells[0].id)  # cells are known by their grid


def test_a_store_that_is_not_there_has_no_stages_and_no_failures(sweeps: Any, broken: Any) -> None:
    nowhere = ["--store", str(sweeps.folder / "typo")]
    for words in (["logs", "abcd"], ["explain", "abcd"], ["retry", "--failed"]):
        error = CliRunner().invoke(cli.cli, [*words, *nowhere]).exception
        assert isinstance(error, StoreError) and "found no store at" in str(error)


def test_the_command_line_says_it_and_exits_with_2(sweeps: Any, broken: Any) -> None:
    script = [
        sys.executable,
        "-c",
        "import sys; from ssl_sweep.cli import main; sys.argv[0] = 'ssl-sweep'; main()",
    ]
    said = subprocess.run(
        [*script, "explain", "ffff00", "--store", str(sweeps.store.root)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert said.returncode == 2 and said.stderr.startswith("error: no stage or cell")


def test_settings_that_equal_a_default_are_left_out(sweeps: Any) -> None:
    from ssl_sweep.sweep.inspect.explain import differing

    stage = sweeps.plan().pretrainings[0]
    found = differing(stage.spec)
    assert found["config.epochs"] == 2 and found["config.batch"] == 64
    assert "corruption" not in found and "config.weights" not in found
    warmer = replace(stage.spec, config=replace(stage.spec.config, weight_decay=0.5))
    assert differing(warmer) == found | {"config.weight_decay": 0.5}
