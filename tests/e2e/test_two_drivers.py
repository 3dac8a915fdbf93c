"""Two drivers on one store: each stage once, the same table from both; whoever dies is replaced."""

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

from sweep.leases import PATIENCE_S, Leases
from sweep.store import Store

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


def ended(process: subprocess.Popen[str]) -> int:
    """How many stages the driver carried out itself."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return int(json.loads(out.splitlines()[-1])["executed"])


def executions(bench: Bench) -> Counter[tuple[str, str]]:
    return Counter((e.stage, e.id) for e in Store(bench.folder / bench.store).executions())


@pytest.fixture
def whole(bench: Bench) -> Bench:
    """An undisturbed run in a store of its own."""
    bench.write(GRID)
    made = Bench(bench.folder, "whole")
    ended(start(made, 0))
    return made


def test_two_drivers_share_the_work_and_one_takes_the_others_over(bench: Bench, whole: Bench) -> None:
    trainings = 8
    first, second = start(bench, 1.0), start(bench, 1.0)
    store = bench.folder / bench.store
    wait_for(lambda: len(list(store.glob("leases/pretrain-*"))) >= 3, 60, "trainings of both")
    shares = ended(first), ended(second)
    assert set(executions(bench).values()) == {1}
    assert sum(shares) == len(executions(bench)) and min(shares) >= trainings // 4
    assert bench.results() == whole.results()
    assert not leftovers(store)
    # One more run, killed in the middle while another waits for it.
    dead = Bench(bench.folder, "dead")
    root = bench.folder / "dead"
    first = start(dead, 2.0)
    wait_for(lambda: len(list(root.glob("leases/pretrain-*"))) == 2, 60, "the first driver's trainings")
    second = start(dead, 0.5)
    wait_for(lambda: len(list(root.glob("leases/pretrain-*"))) == 4, 60, "the second driver's trainings")
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    ended(second)
    assert set(executions(dead).values()) == {1}
    assert dead.results() == whole.results()
    assert not leftovers(root)


def test_a_driver_that_was_suspended_does_not_count_twice(bench: Bench, whole: Bench) -> None:
    store = Store(bench.folder / bench.store)
    first = start(bench, 3.0)
    held = store.root / "leases"
    wait_for(lambda: len(list(held.glob("pretrain-*"))) == 2, 60, "its trainings")
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
    shares = [ended(start(bench, 0.1))]
    os.killpg(first.pid, signal.SIGCONT)
    shares.append(ended(first))
    assert sum(shares) == len(executions(bench)), shares
    assert set(executions(bench).values()) == {1}
    assert bench.results() == whole.results()
