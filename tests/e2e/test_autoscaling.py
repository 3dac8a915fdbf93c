"""A cluster that grows from its head alone for a sweep and shrinks back, in short: Ray's own autoscaler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.exhaustive

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "autoscaling.py"


def test_a_sweep_grows_the_cluster_from_nothing_and_gives_it_back() -> None:
    """The script's own verdict: no node at first and at the end, some between, never more asked for than is
    left to train."""
    short = ["--trainings", "3", "--step-s", "0.4", "--idle-s", "4"]
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), *short], capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "exit code 0" in done.stdout and "0 at first" in done.stdout
