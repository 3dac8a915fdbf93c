"""What lies beside the images is shown by `data check`, `data inspect` and `plan`, as a note or a problem."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from ssl_sweep.sweep.commands.render_data import print_found
from ssl_sweep.sweep.datasets.check import check_datasets
from ssl_sweep.sweep.datasets.commands import prepare_datasets
from ssl_sweep.sweep.datasets.inspect import inspect_dataset
from ssl_sweep.sweep.errors import GridError
from ssl_sweep.sweep.planning.planner import plan_grid
from ssl_sweep.sweep.store.store import Store

GRID = """
name: pets
datasets:
  pets: {source: folder, train: pets/train, test: pets/test, size: 8}
pretrain:
  - {method: random}
evaluate:
  - {domain: pets, labels: 8}
"""


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    """A grid of 12 images of cats and dogs each, and 6 test images; every image has a text beside it."""
    for split, n in (("train", 12), ("test", 6)):
        for name in ("cat", "dog"):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for i in range(n):
                pixels = np.random.default_rng([i, n, name == "cat"]).integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
                (folder / f"{i}.txt").write_text("a pet")
    path = tmp_path / "grid.yaml"
    path.write_text(GRID)
    return path


def printed(found: object) -> str:
    console = Console(width=200, record=True, force_terminal=False, quiet=False)
    with console.capture() as shown:
        print_found(found, console)  # type: ignore[arg-type]
    return shown.get()


def plan_notes(grid: Path) -> list[str]:
    _, plan = plan_grid(grid, (), Store(str(grid.parent / "store")))
    return [note.text for note in plan.notes if note.kind == "passed over"]


def test_every_command_shows_what_is_passed_over(grid: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    checked = check_datasets(grid)
    assert checked.exit_code == 0
    assert "pets: 36 images, 0 bad, 36 other files passed over, 2 classes" in printed(checked)
    assert "note pets: passed over: beside the images, 36 '.txt' files are not read" in printed(checked)
    assert f"36 '.txt' files, such as {tmp_path}/pets/train/cat/0.txt" in printed(checked)
    assert plan_notes(grid) == ["pets: beside the images, 36 '.txt' files are not read"]
    before = inspect_dataset(grid, (), store, "pets")
    prepare_datasets(grid, ["pets"], store)
    after = inspect_dataset(grid, (), store, "pets")
    assert before.passed_over == after.passed_over and after.prepared
    assert "beside the images, 36 '.txt' files are not read\n" in printed(after)
    assert plan_notes(grid) == ["pets: beside the images, 36 '.txt' files are not read"]


def test_lost_images_are_a_problem(grid: Path, tmp_path: Path) -> None:
    (tmp_path / "pets" / "train" / "loose.png").write_bytes(b"x")
    checked = check_datasets(grid)
    assert checked.exit_code == 1
    said = (
        "1 images beside the class folders are not read; 1 of them could be images: remove them, or convert"
    )
    assert f"problem pets: passed over: beside the images, 36 '.txt' files, {said}" in printed(checked)
    assert said in plan_notes(grid)[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("test: pets/train", "train and test are the same images"),
        ("train: pets, test_fraction: 0.2", "the classes of 'label' are 'test', 'train', which are names of"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_plan_and_check(grid: Path, change: str, said: str) -> None:
    key = "train: pets/train, test: pets/test" if "fraction" in change else "test: pets/test"
    grid.write_text(GRID.replace(key, change))
    with pytest.raises(GridError, match=said) as error:
        plan_notes(grid)
    assert "grid.yaml:4:" in str(error.value)
    (finding,) = check_datasets(grid).findings
    assert finding.severe and said in finding.message


def test_one_class_is_refused_for_an_evaluation_and_told_for_pretraining(grid: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        for path in (tmp_path / "pets" / split / "dog").iterdir():
            path.unlink()
        (tmp_path / "pets" / split / "dog").rmdir()
    with pytest.raises(GridError, match="one class"):
        plan_notes(grid)
