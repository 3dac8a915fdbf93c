"""The smallest sweep with every kind of stage, on real Ray, beside modules that must not be imported."""

from __future__ import annotations

import csv
import re

import pytest
from bench import Bench

pytestmark = pytest.mark.smoke
GRID = """
name: smallest
datasets:
  scenes: {source: synthetic, domain: scenes, train: 60, test: 30}
pretrain:
  - {domain: scenes, images: 32, epochs: 1, batch: 16}
evaluate:
  - {domain: scenes, labels: 20}
"""


def test_the_smallest_sweep(bench: Bench) -> None:
    bench.write(GRID)
    for name in ("cli", "data_ops", "ssl_core", "sweep"):
        (bench.folder / f"{name}.py").write_text("raise RuntimeError('a stray module was imported')\n")
    first = bench.call("run", "grid.yaml", "--store", bench.store, "-v")
    assert "executed 1 prepare, 1 pretrain, 2 features, 1 probe in" in first.stderr
    assert re.search(r"^\d\d:\d\d:\d\d Ray is started on this machine", first.stderr, re.MULTILINE)
    rows = list(csv.DictReader(bench.results().splitlines()))
    assert rows and {row["status"] for row in rows} == {"complete"}
    assert all(0 <= float(row["top1"]) <= 1 for row in rows)
