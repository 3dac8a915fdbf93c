"""More workers, more nodes: the same losses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench import Bench

pytestmark = pytest.mark.slow

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


def test_one_worker_on_each_of_two_nodes(one_worker: Bench, bench: Bench) -> None:
    from ray.cluster_utils import Cluster

    bench.write(GRID)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        bench.call(
            "run", "grid.yaml", "compute.workers=2", "--store", bench.store, "--address", cluster.address
        )
    finally:
        cluster.shutdown()
    assert mode(bench) == ("workers", 2)
    assert losses(bench) == pytest.approx(losses(one_worker), abs=1e-4)
