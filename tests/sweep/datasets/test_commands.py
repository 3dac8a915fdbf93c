"""What the `data` commands return; tests/e2e/test_data_commands.py runs them as commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssl_sweep.sweep.datasets.check import check_datasets
from ssl_sweep.sweep.datasets.commands import export_subset, list_datasets, prepare_datasets
from ssl_sweep.sweep.datasets.inspect import inspect_dataset
from ssl_sweep.sweep.errors import SweepError

pytestmark = pytest.mark.smoke
GRID = """
name: small
datasets:
  scenes: {source: synthetic, domain: scenes, train: 80, test: 40}
  objects: {source: synthetic, domain: objects, train: 40, test: 20}
pretrain:
  - {domain: scenes, images: 40, epochs: 1, batch: 20}
evaluate:
  - {domain: scenes, labels: 20}
"""


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "grid.yaml"
    path.write_text(GRID)
    return path


def test_a_dataset_from_its_source_to_its_subsets(grid: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    seen: list[tuple[str, int, int]] = []
    with pytest.raises(SweepError, match="scenes is not prepared"):
        export_subset(grid, (), store, "scenes", "40", 0)
    before = inspect_dataset(grid, (), store, "scenes")
    (row,) = prepare_datasets(grid, ["scenes"], store, lambda *progress: seen.append(progress)).datasets
    assert (row.name, row.state, row.n_train, row.n_test) == ("scenes", "prepared", 80, 40)
    assert seen[-1] == ("scenes", 120, 120)
    assert [(each.name, each.prepared) for each in list_datasets(grid, (), store).datasets] == [
        ("scenes", True),
        ("objects", False),
    ]
    after = inspect_dataset(grid, (), store, "scenes")
    assert (before.prepared, after.prepared) == (False, True)
    assert (before.splits, before.levels) == (after.splits, after.levels)
    assert [split.images for split in after.splits] == [80, 40]
    small, large = (export_subset(grid, (), store, "scenes", images, 0) for images in ("10", "40"))
    assert large[:10] == small and len(set(large)) == 40
    (again,) = prepare_datasets(grid, ["scenes"], store).datasets
    assert again.state == "complete"


def test_a_check_reads_every_image(grid: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    found = check_datasets(grid, on_progress=lambda *progress: seen.append(progress))
    assert [(row.name, row.images, row.bad) for row in found.datasets] == [
        ("scenes", 120, 0),
        ("objects", 60, 0),
    ]
    assert {name: done for name, done, total in seen if done == total} == {"scenes": 120, "objects": 60}
