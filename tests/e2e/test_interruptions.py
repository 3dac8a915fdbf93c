"""Hangs, killed trials, SIGTERM, Ctrl-C on real Ray: a checkpoint is saved, the same command continues."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bench import Bench, wait_for

pytestmark = pytest.mark.exhaustive

HELPERS = Path(__file__).parents[1] / "helpers"
GRID = """
name: interrupted
datasets:
  objects: {source: synthetic, domain: objects, train: 60, test: 30}
pretrain:
  - {method: sleep, domain: objects, images: 20, batch: 20, epochs: 30}
evaluate:
  - {domain: objects, labels: 20}
compute: {checkpoint_every_s: 0.2, hang_after_s: 3}
"""


@pytest.fixture
def sleeping(tmp_path: Path) -> Bench:
    path = os.pathsep.join(filter(None, [str(HELPERS / "plugins"), os.environ.get("PYTHONPATH", "")]))
    hang = str(tmp_path / "hang")
    made = Bench(tmp_path, env={"PYTHONPATH": path, "SLEEP_METHOD_S": "0.4", "SLEEP_METHOD_HANG": hang})
    made.write(GRID)
    return made


def read(bench: Bench, name: str) -> str:
    """A file of the training's folder."""
    found = list((bench.folder / bench.store).glob(f"pretrain/*/{name}"))
    return found[0].read_text() if found else ""


def epochs(bench: Bench) -> int:
    return read(bench, "epochs.jsonl").count("\n")


def starts(bench: Bench) -> list[int]:
    """The processes in which the training began, in order."""
    return [int(pid) for pid in re.findall(r" started on .*, process (\d+)", read(bench, "log.txt"))]


def test_a_hang_a_killed_trial_and_a_spot_notice_in_one_training(sleeping: Bench) -> None:
    bench = sleeping
    hang = bench.folder / "hang"
    hang.touch()
    process = bench.start("run", "grid.yaml", "--store", bench.store)
    wait_for(lambda: read(bench, "error.json"), 120, "the end of the hang")
    hang.unlink()
    failure = json.loads(read(bench, "error.json"))
    assert (failure["kind"], failure["final"]) == ("hang", False)
    assert "in after_step" in failure["log_tail"]
    wait_for(lambda: len(starts(bench)) == 2 and epochs(bench) > 6, 120, "a second attempt")
    os.kill(starts(bench)[-1], signal.SIGKILL)
    wait_for(lambda: len(starts(bench)) == 3, 120, "a third attempt")
    before = epochs(bench)
    wait_for(lambda: epochs(bench) > before + 2, 60, "progress")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert "to continue: ssl-sweep run grid.yaml" in err
    assert "hang: no progress" in err and "worker_error: the worker process died" in err
    store = bench.folder / bench.store
    assert list(store.glob("pretrain/*/checkpoint/*"))
    assert not list(store.glob("leases/*")) and not list(store.glob("drivers/*"))
    done = epochs(bench)
    assert 6 < done < 30
    bench.run()
    assert set(bench.executions().values()) == {1}
    assert epochs(bench) == 30
    assert not read(bench, "error.json")
    # The same numbers as where nothing happened.
    command = [sys.executable, HELPERS / "light_run.py", "grid.yaml", "--store", "whole", "--real"]
    quick = os.environ | bench.env | {"SLEEP_METHOD_S": "0", "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "--without-mirror"], cwd=bench.folder, env=quick, check=True, timeout=120)
    assert Bench(bench.folder, "whole", bench.env).results() == bench.results()


def test_sigterm_while_ray_starts_and_ctrl_c_twice(sleeping: Bench) -> None:
    bench = sleeping
    process = bench.start("run", "grid.yaml", "--store", bench.store)
    assert process.stderr is not None
    assert "starting" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 143, err
    assert "to continue: ssl-sweep run grid.yaml" in err and "Traceback" not in err
    assert not bench.folder.joinpath(bench.store, "executions.jsonl").exists()
    process = bench.start("run", "grid.yaml", "--store", bench.store)
    wait_for(lambda: epochs(bench) > 1, 120, "a first epoch")
    trial = starts(bench)[-1]
    os.killpg(process.pid, signal.SIGINT)
    wait_for(lambda: list((bench.folder / bench.store).glob(".stop*")), 10, "the first signal")
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130, err
    assert "run the same command again to continue" in err and "Traceback" not in err
    wait_for(lambda: not Path(f"/proc/{trial}").exists(), 30, "the end of the trial's process")
    result = bench.call("status", "grid.yaml", "--store", bench.store)
    assert "failed" not in result.stdout.replace("failed ", "")


def test_ctrl_c_while_a_training_hangs_goes_on_to_the_last_line(sleeping: Bench) -> None:
    """What does not stop within the grace is left, and Tune with it, before the connection to Ray is."""
    bench = sleeping
    bench.write(GRID.replace("hang_after_s: 3", "hang_after_s: 300, grace_s: 1"))
    (bench.folder / "hang").touch()
    process = bench.start("run", "grid.yaml", "--store", bench.store)
    wait_for(lambda: epochs(bench) > 1, 120, "a second epoch")
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "executed 1 prepare" in err and "to continue: ssl-sweep run grid.yaml" in err
    assert "WARNING" not in err and "ERROR" not in err, err
    assert not list((bench.folder / bench.store).glob("leases/*"))
