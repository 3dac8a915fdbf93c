"""More workers: the same losses. Two nodes are in test_lost_processes.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bench import Bench, wait_for

pytestmark = pytest.mark.exhaustive

GRID = """
name: workers
datasets:
  objects: {source: synthetic, domain: objects, train: 256, test: 64}
pretrain:
  - {domain: objects, images: 256, epochs: 3, batch: 64, learning_rate: 0.01}
evaluate:
  - {domain: objects, labels: 64}
"""


def losses(bench: Bench) -> list[float]:
    (path,) = (bench.folder / bench.store).glob("pretrain/*/epochs.jsonl")
    return [json.loads(line)["loss"] for line in path.read_text().splitlines()]


def mode(bench: Bench) -> tuple[str, int]:
    (path,) = (bench.folder / bench.store).glob("pretrain/*/manifest.json")
    run = json.loads(Path(path).read_text())["run"]
    return run["mode"], run["workers"]


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    made = Bench(tmp_path_factory.mktemp("one"))
    made.write(GRID)
    made.run()
    assert mode(made) == ("in-process", 1)
    return made


def test_two_workers_learn_what_one_does(one_worker: Bench, bench: Bench) -> None:
    bench.write(GRID)
    bench.run("compute.workers=2")
    assert mode(bench) == ("workers", 2)
    assert losses(bench) == pytest.approx(losses(one_worker), abs=1e-4)
    assert bench.plan()["to_run"] == 0, "the number of workers is in the identity"
    assert not (bench.folder / bench.store / "train").exists() or not any(
        (bench.folder / bench.store / "train").iterdir()
    ), "Train's checkpoints were left behind"


def test_a_store_that_one_node_cannot_see_is_refused(bench: Bench) -> None:
    """The second node lives in a mount namespace where the store's folder is another, empty one."""
    from ray.cluster_utils import Cluster

    hidden = bench.folder / "hidden"
    hidden.mkdir()
    if subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", hidden]).returncode:
        pytest.skip("this user may not make a mount namespace")
    bench.write(GRID)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    ray = Path(sys.executable).parent / "ray"
    start = f"exec {ray} start --address {cluster.address} --num-cpus 1 --block"
    stage = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs none {hidden} && {start}"],
        env=os.environ | {"RAY_raylet_start_wait_time_s": "120"},  # a busy machine starts slowly
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(lambda: alive_nodes(cluster.address) == 2, 150, "the second node")
        result = bench.call(
            "run", "grid.yaml", "--store", "hidden/store", "--address", cluster.address, expect=2
        )
    finally:
        os.killpg(stage.pid, signal.SIGKILL)
        stage.wait()
        cluster.shutdown()
    assert "not visible on 1 of 2 nodes" in result.stderr
    assert not list(hidden.glob("store/pretrain/*"))


def alive_nodes(address: str) -> int:
    """Nodes of a cluster, counted without joining it."""
    from ray._private.state import GlobalState
    from ray._raylet import GcsClientOptions

    state = GlobalState()
    state._initialize_global_state(
        GcsClientOptions.create(address, None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=False)
    )
    try:
        return sum(stage["Alive"] for stage in state.node_table())
    finally:
        state.disconnect()
