"""A column and a metric are one declaration each: the lines of the how-to page, in a copy of the code."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from code_copy import copy_of_code, results_of

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
    code = copy_of_code(tmp_path)
    column, metric = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    inserted(code / "sweep/planning/columns.py", "    *_rest.values(),", column)
    inserted(code / "ssl_core/evaluation/metrics.py", '}\n"""Every metric, by name.', metric)
    table, _ = results_of(tmp_path, GRID)
    (row,) = [row for row in csv.DictReader(table.splitlines()) if row["level_index"] == "0"]
    assert (row["pool_parts"], row["status"]) == ("1", "complete")
    assert 0 < float(row["top1"]) <= float(row["top2"]) <= float(row["top5"])
