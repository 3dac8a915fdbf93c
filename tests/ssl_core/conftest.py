"""Helpers of the learning tests: one thread, and real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
sys.path.append(
    str(Path(__file__).parent)
)  # test files and the processes they start share scripts of this folder


@pytest.fixture(autouse=True)
def _one_thread():
    """Busy neighbours make torch's threads slow, and sums over threads would blur bit-exact comparisons."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def start_script() -> Callable[..., subprocess.Popen[str]]:
    def start(script: str, *arguments: object) -> subprocess.Popen[str]:
        """Run a script of this folder in a process of its own, warnings as errors."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-W", "error", str(Path(__file__).parent / script), *map(str, arguments)]
        return subprocess.Popen(
            command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    return start


@pytest.fixture(scope="session")
def two_workers(start_script, tmp_path_factory) -> Path:
    """The folder that two gloo processes of two_workers.py left; both have to succeed."""
    folder = tmp_path_factory.mktemp("two_workers")
    workers = [start_script("two_workers.py", folder, rank, 2) for rank in range(2)]
    try:
        outputs = [worker.communicate(timeout=240)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    for worker, output in zip(workers, outputs, strict=True):
        assert worker.returncode == 0, output
    return folder
