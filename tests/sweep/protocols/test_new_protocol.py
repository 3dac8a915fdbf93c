"""A protocol and a corruption are one file and one line each: the how-to pages, in a copy of the code."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from code_copy import copy_of_code, results_of

ROOT = Path(__file__).parents[3]
GRID = """\
name: added
datasets:
  objects: {source: synthetic, domain: objects, train: 60, test: 40}
pretrain:
  - {method: random, seed: 0}
evaluate:
  - {domain: objects, labels: 30, protocol: [knn, centroid], centroid_power: [1, 2], corruption: solarise-64}
"""


def block(page: str) -> str:
    """The Python block of a how-to page."""
    text = (ROOT / "docs" / "how-to" / f"{page}.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    return str(code)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, path
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.slow
def test_the_files_of_the_pages_run_to_the_results_table(tmp_path: Path) -> None:
    code = copy_of_code(tmp_path)
    (code / "sweep/protocols/centroid.py").write_text(block("protocol"), encoding="utf-8")
    edit(code / "sweep/protocols/__init__.py", '"finetune")', '"finetune", "centroid")')
    corruptions = code / "data_ops/dataset/corruptions.py"
    edit(corruptions, ")\n_BY_NAME = ", f")\n{block('corruption')}KINDS += (SOLARISE,)\n_BY_NAME = ")
    table, done = results_of(tmp_path, GRID)
    rows = [row for row in csv.DictReader(table.splitlines()) if row["level_index"] == "0"]
    found = sorted((row["protocol"], row["centroid_power"], row["knn_k"]) for row in rows)
    assert found == [("centroid", "1.0", ""), ("centroid", "2.0", ""), ("knn", "", "200")]
    assert {(row["status"], row["eval_corruption"]) for row in rows} == {("complete", "solarise-64")}
    assert all(float(row["top1"]) > 0 for row in rows)
    assert '"to_run": 0' in done
