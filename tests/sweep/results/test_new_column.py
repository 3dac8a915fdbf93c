"""A column and a metric are one declaration each: the lines of the how-to page, in a copy of the code."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "how-to" / "column.md"
GRID = """\
name: added
datasets:
  objects: {source: synthetic, domain: objects, train: 60, test: 40}
pretrain:
  - {method: random, seed: 0}
evaluate:
  - {domain: objects, labels: 30, protocol: knn}
"""


def inserted(path: Path, before: str, line: str) -> None:
    """Put a line into a file, above the only line that begins with ``before``."""
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1
    path.write_text(text.replace(before, f"{line}{before}"), encoding="utf-8")


@pytest.mark.slow
def test_the_declarations_of_the_page_run_to_the_results_table(tmp_path: Path) -> None:
    code = tmp_path / "ssl_sweep"
    for name in ("sweep", "ssl_core", "data_ops"):
        shutil.copytree(ROOT / name, code / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "cli.py"):
        shutil.copy(ROOT / name, code / name)
    column, metric = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    inserted(code / "sweep/planning/columns.py", "    *_rest.values(),", column)
    inserted(code / "ssl_core/evaluation/metrics.py", '}\n"""Every metric, by name.', metric)
    (tmp_path / "grid.yaml").write_text(GRID, encoding="utf-8")

    helpers = ROOT / "tests" / "helpers"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(helpers)])}

    def python(*arguments: str) -> str:
        command = [sys.executable, *arguments, "grid.yaml", "--store", "store"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    python(str(helpers / "light_run.py"), "--real", "--without-mirror")
    table = python("-m", "ssl_sweep.cli", "results", "--format", "csv")
    (row,) = [row for row in csv.DictReader(table.splitlines()) if row["level_index"] == "0"]
    assert (row["pool_parts"], row["status"]) == ("1", "complete")
    assert 0 < float(row["top1"]) <= float(row["top2"]) <= float(row["top5"])
