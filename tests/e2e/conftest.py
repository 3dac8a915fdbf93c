"""Fixtures of the whole-sweep tests."""

from __future__ import annotations

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
