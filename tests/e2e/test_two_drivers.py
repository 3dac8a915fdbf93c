"""Two drivers on one store: each stage once, the same table from both; the other replaces one that dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from bench import Bench, wait_for
from soundness import leftovers

from ssl_sweep.sweep.store.leases import PATIENCE_S, Leases
from ssl_sweep.sweep.store.store import Store

pytestmark = pytest.mark.exhaustive

RUN = Path(__file__).parents[1] / "helpers" / "light_run.py"
GRID = """
name: shared
datasets:
  objects: {source: synthetic, domain: objects, train: 60, test: 30}
pretrain:
  - {domain: objects, images: 40, batch: 8, epochs: 1, seed: [0, 1, 2, 3, 4, 5, 6, 7]}
  - {method: random, seed: [0, 1]}
evaluate:
  - {domain: objects, labels: [20, 30], seed: [0, 1]}
"""


def start(bench: Bench, seconds: float) -> subprocess.Popen[str]:
    """A driver on processes of its own whose trainings take so long."""
    command = [sys.executable, RUN, "grid.yaml", "--store", bench.store, "--without-mirror"]
    return subprocess.Popen(
        [*map(str, command), "--train-s", str(seconds)],
        cwd=bench.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def trains(root: Path) -> bool:
    """Whether the random encoders are there, which come first, and two trainings are held."""
    random = len(list(root.glob("pretrain/*/manifest.json"))) == 2
    return random and len(list(root.glob("leases/pretrain-*"))) == 2


def ended(process: subprocess.Popen[str]) -> int:
    """How many stages the driver carried out itself."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return int(json.loads(out.splitlines()[-1])["executed"])


def executions(bench: Bench) -> Counter[tuple[str, str]]:
    return Counter((e.stage, e.id) for e in Store(bench.folder / bench.store).executions())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The table of a run that nobody disturbs."""
    made = Bench(tmp_path_factory.mktemp("undisturbed"))
    made.write(GRID)
    ended(start(made, 0))
    return made.results()


@pytest.fixture
def shared(bench: Bench) -> Bench:
    bench.write(GRID)
    return bench


def test_two_drivers_share_the_work(shared: Bench, undisturbed: str) -> None:
    trainings = 8
    first, second = start(shared, 1.0), start(shared, 1.0)
    store = shared.folder / shared.store
    wait_for(lambda: len(list(store.glob("leases/pretrain-*"))) >= 3, 60, "trainings of both")
    shares = ended(first), ended(second)
    assert set(executions(shared).values()) == {1}
    assert sum(shares) == len(executions(shared)) and min(shares) >= trainings // 4
    assert shared.results() == undisturbed
    assert not leftovers(store)


def test_a_driver_that_is_killed_is_replaced_by_the_other(shared: Bench, undisturbed: str) -> None:
    root = shared.folder / shared.store
    first = start(shared, 600)
    wait_for(lambda: trains(root), 60, "two trainings, for ever")
    second = start(shared, 0)
    wait_for(lambda: len(list(root.glob("pretrain/*/manifest.json"))) == 8, 60, "all others")
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    ended(second)
    assert set(executions(shared).values()) == {1}
    assert shared.results() == undisturbed
    assert not leftovers(root)


def test_a_driver_that_was_suspended_does_not_count_twice(shared: Bench, undisturbed: str) -> None:
    store = Store(shared.folder / shared.store)
    first = start(shared, 3.0)
    held = store.root / "leases"
    wait_for(lambda: trains(store.root), 60, "two trainings")
    os.killpg(first.pid, signal.SIGSTOP)
    now = [0.0]
    other = Leases(store.storage, clock=lambda: now[0])
    taken = [tuple(path.name.split("-")) for path in held.glob("pretrain-*")]
    for _ in range(round(PATIENCE_S / 10) + 1):  # a minute passes for the other driver
        got = [other.take(*stage) for stage in taken]
        now[0] += 10
    assert got == [True] * len(taken)
    for stage in taken:
        other.release(*stage)
    shares = [ended(start(shared, 0.1))]
    os.killpg(first.pid, signal.SIGCONT)
    shares.append(ended(first))
    assert sum(shares) == len(executions(shared)), shares
    assert set(executions(shared).values()) == {1}
    assert shared.results() == undisturbed
