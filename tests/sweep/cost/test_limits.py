"""A run's limits: refused before it starts, and stopped cleanly when they are spent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ssl_sweep.sweep.cost.limits import LimitGuard, Limits
from ssl_sweep.sweep.cost.machine import Machine
from ssl_sweep.sweep.cost.predict import Experience, predict
from ssl_sweep.sweep.errors import InfeasibleError, UsageError
from ssl_sweep.sweep.grid.schema import Compute

HERE = Machine(cpus=2, gpus=0, device="cpu", hardware="a processor")
COMPUTE = Compute()
ROOT = Path(__file__).parents[3]
GRID = """\
name: budget
datasets:
  a: {source: synthetic, domain: objects, train: 60, test: 20}
pretrain: {domain: a, images: 50, epochs: 1, batch: 10, seed: [0, 1, 2, 3, 4, 5]}
evaluate: {domain: a, labels: 20}
compute: {price_per_hour: 3600, mode: in-process, cpus_per_worker: 1}
"""


def check(sweeps: Any, limits: Limits, compute: Compute = COMPUTE) -> LimitGuard:
    guard = LimitGuard(limits)
    guard.check(sweeps.prepared(), sweeps.store, compute, HERE)
    return guard


@pytest.mark.smoke
def test_a_plan_above_a_limit_is_refused_with_numbers_and_what_to_cut(sweeps: Any) -> None:
    check(sweeps, Limits(gpu_hours=100))
    with pytest.raises(InfeasibleError) as error:
        check(sweeps, Limits(gpu_hours=1e-6))
    said = error.value.report()
    assert "--max-gpu-hours is 1e-06" in said and "core-hours" in said and "6 default guess" in said
    assert "The largest stages:" in said and "s  pretrain " in said and "cut images, epochs or seeds" in said
    assert error.value.exit_code == 3
    with pytest.raises(InfeasibleError, match=r"--max-cost is 0\.01"):
        check(sweeps, Limits(cost=0.01), Compute(price_per_hour=1000))
    check(sweeps, Limits(cost=0.01), Compute(price_per_hour=0.001))


def test_a_limit_in_money_needs_a_price(sweeps: Any) -> None:
    unknown = Machine(cpus=8, gpus=1, device="gpu", hardware="a new GPU")
    with pytest.raises(UsageError, match="--max-cost needs a price"):
        LimitGuard(Limits(cost=5)).check(sweeps.prepared(), sweeps.store, Compute(), unknown)


@pytest.mark.smoke
def test_what_runs_counts_until_it_ends_and_what_does_not_fit_does_not_start(sweeps: Any) -> None:
    plan = sweeps.prepared()
    predictions = predict(plan, Experience.of(sweeps.store), HERE, Compute())
    first, second, third = plan.pretrainings[:3]
    now = [0.0]
    guard = LimitGuard(Limits(gpu_hours=1), clock=lambda: now[0])
    guard.check(plan, sweeps.store, Compute(), HERE)
    guard.follow(predictions, gpu=False)
    assert guard.allows(first)
    guard.changed(first, "running")
    now[0] = 1800
    assert guard.spent_s == pytest.approx(1800) and not guard.over
    guard.changed(first, "waiting")  # a failed attempt was paid for as well
    guard.changed(second, "running")
    now[0] = 3599
    assert not guard.allows(third) and not guard.over and "would exceed it: 1" in guard.stop_reason
    now[0] = 3601
    assert guard.over and "the limit is reached" in guard.stop_reason
    light = next(stage for stage in plan.stages if stage.kind == "probe")
    guard.changed(light, "running")
    guard.changed(light, "complete")
    assert guard.spent_s == pytest.approx(3601 + predictions[light.id].device_s)


def test_what_another_driver_does_is_not_paid_for_here(sweeps: Any) -> None:
    plan = sweeps.prepared()
    mine, others = [stage for stage in plan.stages if stage.kind == "probe"][:2]
    guard = LimitGuard(Limits(gpu_hours=100))
    guard.check(plan, sweeps.store, Compute(), HERE)
    guard.follow(predict(plan, Experience.of(sweeps.store), HERE, Compute()), gpu=False)
    for status in ("elsewhere", "complete"):
        guard.changed(others, status)
    assert guard.spent_s == 0
    for status in ("running", "waiting", "running", "complete"):
        guard.changed(mine, status)
    assert guard.spent_s > 0


def test_the_command_line_refuses_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text(GRID)
    command = [sys.executable, "-m", "ssl_sweep.cli", "run", "grid.yaml", "--store", "store"]
    options = ["--max-gpu-hours", "1e-9", "--priority", "images=50"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 3 and "the run would take" in done.stderr and "hint: " in done.stderr
    assert not list(tmp_path.glob("store/p*"))


def run(folder: Path, *options: str, train_s: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tests/helpers/light_run.py"), str(folder / "grid.yaml")]
    command += ["--store", str(folder / "store"), "--without-mirror", "--train-s", str(train_s), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


@pytest.mark.exhaustive
def test_a_run_stops_at_its_limit_and_continues_with_a_higher_one(tmp_path: Path) -> None:
    """Six trainings that were thought to take moments take five seconds each, on two processes."""
    (tmp_path / "grid.yaml").write_text(GRID)
    stopped = run(tmp_path, "--max-cost", "12", train_s=5)
    assert stopped.returncode == 3, stopped.stderr
    assert "the limit is reached" in stopped.stderr and "Traceback" not in stopped.stderr
    manifests = len(list(tmp_path.glob("store/pretrain/*/manifest.json")))
    assert manifests < 6
    assert not list(tmp_path.glob("store/leases/*"))
    done = run(tmp_path, "--max-cost", "10000", train_s=0)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["executed"] > 0
    assert len(list(tmp_path.glob("store/pretrain/*/manifest.json"))) == 6
