"""The driver killed twenty times over fake trainings on real Ray: nothing is lost, nothing is done twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import Bench
from soundness import faults, table

from ssl_sweep.sweep.planning.planner import plan_grid
from ssl_sweep.sweep.store.store import Store

pytestmark = pytest.mark.exhaustive

HELPERS = Path(__file__).parents[1] / "helpers"
GRID = """
name: kills
datasets:
  objects: {source: synthetic, domain: objects, train: 120, test: 40}
pretrain:
  - {method: sleep, domain: objects, images: [20, 40], batch: 20, epochs: 4}
  - {method: random, seed: 0}
evaluate:
  - {domain: objects, labels: 40, seed: [0, 1]}
"""
ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join(filter(None, [str(HELPERS / "plugins"), os.environ.get("PYTHONPATH", "")])),
    "SLEEP_METHOD_S": "0.05",
    "RAY_raylet_start_wait_time_s": "120",  # a busy machine starts slowly
}
# Most kills come while a run starts, plans and joins the cluster; some once so many stages more are done.
EARLY, EARLY_S, LATER = 17, (0.2, 2.4), (1, 3, 6)


@pytest.fixture
def sleeping(tmp_path: Path) -> Bench:
    made = Bench(tmp_path, env=ENVIRONMENT)
    made.write(GRID)
    return made


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a Ray that outlives the drivers."""
    from ray.cluster_utils import Cluster

    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        yield str(made.address)
    finally:
        made.shutdown()


def undisturbed(bench: Bench) -> str:
    """The table of a run on plain processes: where stages are performed is not in their results."""
    command = [sys.executable, HELPERS / "light_run.py", "grid.yaml", "--store", "undisturbed", "--real"]
    subprocess.run(
        [*command, "--without-mirror"], cwd=bench.folder, env=os.environ | bench.env, check=True, timeout=200
    )
    store = Store(bench.folder / "undisturbed")
    return table(plan_grid(bench.folder / "grid.yaml", (), store)[1], store)


def wait_for_stages(process: subprocess.Popen[str], executions: Path, more: int) -> None:
    """Until so many more stages are done, or the run is over."""

    def done() -> int:
        return executions.read_bytes().count(b"\n") if executions.exists() else 0

    before, deadline = done(), time.monotonic() + 200
    while process.poll() is None and done() < before + more:
        assert time.monotonic() < deadline, f"{more} more stages are not done within 200 s"
        time.sleep(0.02)


def test_twenty_kills_of_the_driver(sleeping: Bench, cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(20211)
    moments: list[float | int] = [chance.uniform(*EARLY_S) for _ in range(EARLY)]
    moments += LATER
    chance.shuffle(moments)
    run = ("run", "grid.yaml", "--store", sleeping.store, "--address", cluster)
    hit = 0
    for moment in moments:
        process = sleeping.start(*run)
        if isinstance(moment, int):
            wait_for_stages(process, sleeping.folder / sleeping.store / "executions.jsonl", moment)
        else:
            time.sleep(moment)
        assert process.poll() in (None, 0), process.communicate()
        hit += process.poll() is None
        (os.killpg if chance.random() < 0.5 else os.kill)(process.pid, signal.SIGKILL)
        process.communicate()
    sleeping.call(*run)
    assert hit >= 20 - len(LATER), "the sweep was done before it could be killed"
    monkeypatch.syspath_prepend(str(HELPERS / "plugins"))
    assert (
        faults(sleeping.folder / "grid.yaml", sleeping.folder / sleeping.store, undisturbed(sleeping)) == []
    )
