"""Fixtures of the whole-sweep tests."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.write()
    return made


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The tiny sweep, run once and undisturbed; tests read it and must not add to its store."""
    made = Bench(tmp_path_factory.mktemp("finished"))
    made.write()
    made.run()
    return made


@pytest.fixture
def started(bench: Bench) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes to be ended whatever the test does."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
