"""A worker, the controller, a node of a training killed: it goes on from its checkpoint to the same end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench import Bench, wait_for

pytestmark = pytest.mark.exhaustive

PLUGINS = Path(__file__).parents[1] / "helpers" / "plugins"
MARK = "SSL_SWEEP_TEST"
EPOCHS = 18
GRID = f"""
name: lost
datasets:
  objects: {{source: synthetic, domain: objects, train: 60, test: 30}}
pretrain:
  - {{method: sleep, domain: objects, images: 40, batch: 40, epochs: {EPOCHS}}}
evaluate:
  - {{domain: objects, labels: 20}}
compute: {{checkpoint_every_s: 0.2, workers: 2}}
"""


@pytest.fixture
def sleeping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    path = os.pathsep.join(filter(None, [str(PLUGINS), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PYTHONPATH", path)  # of the nodes, too
    monkeypatch.setenv("SLEEP_METHOD_S", "0.4")
    monkeypatch.setenv(MARK, str(tmp_path))
    made = Bench(tmp_path)
    made.write(GRID)
    return made


@pytest.fixture
def two_nodes(sleeping: Bench) -> Iterator[object]:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        yield cluster
    finally:
        cluster.shutdown()


def folder(bench: Bench) -> Path | None:
    return next((bench.folder / bench.store).glob("pretrain/*/epochs.jsonl"), Path()).parent


def epochs(bench: Bench) -> list[dict[str, float]]:
    try:
        lines = (folder(bench) / "epochs.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]
    except (OSError, ValueError):
        return []


def starts(bench: Bench) -> int:
    """How often worker 0 of the training began."""
    log = folder(bench) / "log.txt"
    return log.read_text().count("worker 0 started") if log.exists() else 0


def processes(title: str) -> list[int]:
    """Ray's processes of this kind that this test started."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    found = [int(line.split()[0]) for line in listed.splitlines() if f"ray::{title}" in line]
    own = f"{MARK}={os.environ[MARK]}".encode()
    return [pid for pid in found if own in Path(f"/proc/{pid}/environ").read_bytes()]


def interrupted(bench: Bench, address: str, *kills: Callable[[], None]) -> str:
    """What a run says in whose training each of these happens once it has made progress; it goes on to the
    same numbers as one that nothing happened to."""
    process = bench.start("run", "grid.yaml", "--store", bench.store, "--address", address)
    done = 0
    try:
        for number, kill in enumerate(kills, start=1):
            wait_for(lambda n=number: starts(bench) == n, 240, f"start {number}")
            wait_for(lambda n=done: len(epochs(bench)) > n + 2, 60, f"progress before kill {number}")
            done = len(epochs(bench))
            kill()
        _, err = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert starts(bench) == len(kills) + 1
    assert len(epochs(bench)) == EPOCHS
    assert set(bench.executions().values()) == {1}
    undisturbed = Bench(bench.folder, store="whole")
    undisturbed.call("run", "grid.yaml", "--store", "whole", "--address", address)
    assert [e["loss"] for e in epochs(bench)] == [e["loss"] for e in epochs(undisturbed)]
    return err


def test_killed_worker_controller_and_node(sleeping: Bench, two_nodes: object) -> None:
    second = two_nodes.add_node(num_cpus=1)

    def kill_worker() -> None:
        os.kill(processes("RayTrainWorker")[0], signal.SIGKILL)

    def kill_controller() -> None:
        os.kill(processes("TrainController")[0], signal.SIGKILL)

    def kill_node() -> None:
        two_nodes.remove_node(second, allow_graceful=False)
        two_nodes.add_node(num_cpus=1)

    err = interrupted(sleeping, two_nodes.address, kill_worker, kill_controller, kill_node)
    assert err.count("worker_error:") == 2 and err.count("node_lost:") == 1, err


def test_killed_trial_and_a_node_that_is_taken_back(sleeping: Bench, two_nodes: object) -> None:
    """The trial's death leaves no placement group: there are two processors, and the next attempt needs both.
    The node goes before the moment that was announced, and before Ray misses it."""
    second = two_nodes.add_node(num_cpus=1)

    def kill_trial() -> None:
        os.kill(processes("ImplicitFunc")[0], signal.SIGKILL)

    def take_back() -> None:
        notice = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
        drain = [Path(sys.executable).parent / "ray", "drain-node", "--address", two_nodes.address]
        drain += ["--node-id", second.node_id, "--deadline-remaining-seconds", "120", *notice]
        subprocess.run(drain, check=True, capture_output=True, timeout=60)
        two_nodes.remove_node(second, allow_graceful=False)
        two_nodes.add_node(num_cpus=1)

    err = interrupted(sleeping, two_nodes.address, kill_trial, take_back)
    assert err.count("worker_error:") == 1 and err.count("preempted:") == 1, err
