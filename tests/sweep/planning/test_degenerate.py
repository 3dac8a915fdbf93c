"""Grids whose answers would mean nothing are refused before anything runs, at their line, with the remedy."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from expansion import CATALOG, cells, impossible, info
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ssl_sweep.data_ops.dataset.subsets import label_budget, smallest_tail
from ssl_sweep.data_ops.hashing import hash64
from ssl_sweep.sweep.errors import GridError
from ssl_sweep.sweep.planning.planner import plan_grid, validate_grid
from ssl_sweep.sweep.store.store import Store

PRETRAIN = "{domain: a, images: 100, batch: 10, epochs: 1}"
ONE_CLASS = {**CATALOG, "a": replace(info("a", 1000), n_classes=1)}


def test_one_class_cannot_be_evaluated() -> None:
    (said,) = impossible(PRETRAIN, "{domain: a, labels: 10}", catalog=ONE_CLASS)
    assert said.startswith("grid.yaml:4:20: ")
    assert "'a' have one class only" in said and "use this dataset only in pretrain" in said


def test_one_class_is_enough_for_pretraining() -> None:
    assert cells(PRETRAIN, "{domain: b, labels: 10}", catalog=ONE_CLASS)
    (said,) = impossible(
        f"{PRETRAIN[:-1]}, method: supervised}}", "{domain: b, labels: 10}", catalog=ONE_CLASS
    )
    assert "supervised learns to tell classes apart, but 'a' has one class only" in said


@pytest.mark.parametrize("labels", ["1", "0.1%"])
def test_a_budget_of_one_label_cannot_have_two_classes(labels: str) -> None:
    (said,) = impossible(PRETRAIN, f"{{domain: a, labels: [2, {labels}]}}")
    assert said.startswith("grid.yaml:4:") and "is one image; give two or more" in said


def test_a_long_tail_that_leaves_one_class_is_refused() -> None:
    two = {**CATALOG, "a": replace(info("a", 1000), n_classes=2)}
    (said,) = impossible(PRETRAIN, "{domain: a, labels: [32, 64], imbalance: 100}", catalog=two)
    assert "imbalance 100: 32 labels of 'a' are all of one class; give 51 labels or more" in said


@given(st.integers(2, 6), st.floats(1.01, 300), st.integers(0, 5))
def test_the_smallest_long_tail_is_the_first_with_two_classes(
    classes: int, imbalance: float, seed: int
) -> None:
    n = smallest_tail(classes, imbalance)
    labels = np.repeat(np.arange(classes), 400)
    keys = hash64(1, np.arange(len(labels), dtype=np.uint64))
    drawn = label_budget(keys, labels, n, seed, imbalance=imbalance)
    assert len(set(labels[drawn])) == 2
    turn = 0.5 * imbalance ** (1 / (classes - 1)) + 0.5  # where the second class would come; at a tie, either
    if not math.isclose(turn, round(turn), rel_tol=1e-9):
        assert len(set(labels[drawn[:-1]])) == 1


# Sources --------------------------------------------------------------------------------------------

FOLDERS = """\
name: mine
datasets:
  mine:
    source: folder
    train: TRAIN
    test: TEST
pretrain: {domain: mine, images: 3, batch: 3, epochs: 1}
evaluate: {domain: mine, labels: all}
"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """``photos/train`` and ``photos/test`` with three images of a cat and of a dog each."""
    for split in ("train", "test"):
        fill(tmp_path / "photos" / split, "cat", "dog")
    return tmp_path / "photos"


def fill(folder: Path, *classes: str) -> None:
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (8, 8), (i, len(name), len(str(folder)))).save(folder / name / f"{i}.png")


@pytest.fixture
def refused(photos: Path) -> Callable[..., str]:
    """The problem of a grid, as ``validate`` and as ``plan`` find it."""

    def found(train: str = "photos/train", test: str = "photos/test", text: str = FOLDERS) -> str:
        grid = photos.parent / "grid.yaml"
        grid.write_text(text.replace("TRAIN", train).replace("TEST", test))
        with pytest.raises(GridError) as by_validate:
            validate_grid(grid)
        with pytest.raises(GridError) as by_plan:
            plan_grid(grid, (), Store(photos.parent / "store"), expect=True)
        assert str(by_validate.value) == str(by_plan.value)
        return str(by_plan.value).removeprefix(f"{photos.parent}/")

    return found


def test_a_sound_grid_is_valid(photos: Path) -> None:
    grid = photos.parent / "grid.yaml"
    grid.write_text(FOLDERS.replace("TRAIN", "photos/train").replace("TEST", "photos/test"))
    assert "is valid" in validate_grid(grid)


def test_train_as_test_is_refused_at_test(photos: Path, refused: Callable[..., str]) -> None:
    assert refused(test="photos/train").startswith("grid.yaml:6:11: datasets.mine: ")
    (photos.parent / "link").symlink_to(photos / "train")
    assert "the same images" in refused(test="link")


def test_split_folders_are_no_classes(refused: Callable[..., str]) -> None:
    text = FOLDERS.replace("test: TEST", "test_fraction: 0.3")
    said = refused("photos", text=text)
    assert said.startswith("grid.yaml:5:12: datasets.mine: ") and "names of splits" in said


def test_other_classes_in_test_are_refused_at_test(photos: Path, refused: Callable[..., str]) -> None:
    shutil.rmtree(photos / "test")
    fill(photos / "test", "Katze", "Hund")
    said = refused()
    assert said.startswith("grid.yaml:6:11: ") and "no class of the test images" in said
    fill(photos / "test", "cat")
    said = refused()
    assert said.startswith("grid.yaml:6:11: ") and "2 of 3 test classes" in said


def test_one_class_folder_is_refused_at_the_evaluation(photos: Path, refused: Callable[..., str]) -> None:
    shutil.rmtree(photos / "train" / "dog")
    said = refused()
    assert said.startswith("grid.yaml:8:20: ") and "one class only" in said


def test_what_is_passed_over_is_in_the_plan(photos: Path) -> None:
    grid = photos.parent / "grid.yaml"
    grid.write_text(FOLDERS.replace("TRAIN", "photos/train").replace("TEST", "photos/test"))
    (photos / "train" / "cat" / "notes.docx").write_bytes(b"PK")
    (note,) = plan_grid(grid, (), Store(photos.parent / "store"))[1].notes
    assert note.kind == "passed over" and note.text.startswith("mine: beside the images, 1 ")
