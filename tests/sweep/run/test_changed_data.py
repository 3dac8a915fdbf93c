"""What runs again after images or labels changed, counted by the executions of real stages."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_here import run_here

from ssl_sweep.data_ops.dataset.draws import Draws
from ssl_sweep.data_ops.dataset.prepared import PreparedDataset
from ssl_sweep.sweep.results.predictions import results_per_class
from ssl_sweep.sweep.results.table import results

GRID = """\
name: changed
datasets:
  SETS: {source: npz, train: a_train.npz, test: a_test.npz, size: 8}
pretrain:
  - {method: [simclr, supervised], domain: SETS, images: [24, all], epochs: 1, batch: 8}
  - {method: random, seed: 0}
evaluate:
  - {domain: SETS, labels: 12, seed: [0, 1], protocol: knn}
"""
NAMES = np.array(["ant", "bee", "cat"])


class Changing:
    """A small dataset that is changed between two runs of its grid."""

    def __init__(self, sweeps: Any) -> None:
        self.sweeps = sweeps
        rng = np.random.default_rng(0)
        self.train = rng.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
        self.test = rng.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
        self.labels, self.test_labels = NAMES[np.arange(60) % 3], NAMES[np.arange(20) % 3]

    def run(self, grid: str = "", name: str = "a") -> Counter[str]:
        """Number of executions of each kind that a run added; pretrainings count by method."""
        for split, images, labels in (
            ("train", self.train, self.labels),
            ("test", self.test, self.test_labels),
        ):
            np.savez(self.sweeps.folder / f"{name}_{split}.npz", images=images, labels=labels)
        before = self.executed()
        self.rows = run_here(self.sweeps, grid or GRID.replace("SETS", "a"))
        return self.executed() - before

    def executed(self) -> Counter[str]:
        store, done = self.sweeps.store, Counter[str]()
        for execution in store.executions():
            manifest = store.manifest(execution.stage, execution.id)
            pretrain = execution.stage == "pretrain"
            done[manifest.spec["config"]["method"] if pretrain else execution.stage] += 1
        return done

    def draws(self) -> Draws:
        """Of the dataset as it was prepared last."""
        (prepare,) = {c.evaluation.prepare_id for c in self.sweeps.plan(GRID.replace("SETS", "a")).cells}
        return Draws(PreparedDataset(self.sweeps.store.fetch("prepare", prepare) / "data"))

    def in_file(self, row: int) -> int:
        """The index in the file of a row of the prepared dataset."""
        pixels = self.draws().data.images("train")[row]
        (found,) = np.flatnonzero((self.train == pixels).all(axis=(1, 2, 3)))
        return int(found)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("changed")


@pytest.fixture
def changing(sweeps: Any, place: Path) -> Changing:
    """The dataset after the first run of its grid, which is done once and then copied back."""
    work, kept = place / "work", place / "kept"
    if kept.exists():
        shutil.rmtree(work)
        shutil.copytree(kept, work)
        return Changing(type(sweeps)(work))
    work.mkdir()
    changing = Changing(type(sweeps)(work))
    assert changing.run() == {
        "prepare": 1, "simclr": 2, "supervised": 2, "random": 1, "features": 10, "probe": 10
    }  # fmt: skip
    shutil.copytree(work, kept)
    return changing


def drawn(changing: Changing) -> Mapping[str, set[int]]:
    draws = changing.draws()
    found = {f"budget {seed}": draws.budget(12, seed) for seed in (0, 1)} | {"subset": draws.subset(24, 0)}
    return {name: set(rows.tolist()) for name, rows in found.items()}


def pick(changing: Changing, wanted: Callable[[bool, bool, bool], bool]) -> int:
    """An image, by its index in the file, that is or is not in the draws as ``wanted`` says."""
    sets = drawn(changing)
    rows = range(60)
    row = next(r for r in rows if wanted(r in sets["subset"], r in sets["budget 0"], r in sets["budget 1"]))
    return changing.in_file(row)


def test_a_corrected_label_trains_nothing_that_does_not_read_it(changing: Changing) -> None:
    image = pick(changing, lambda subset, zero, one: not subset and not zero and not one)
    changing.labels[image] = "ant" if changing.labels[image] != "ant" else "bee"
    # only the supervised training on all images contains it, and what is read from that encoder
    assert changing.run() == {"prepare": 1, "supervised": 1, "features": 2, "probe": 2}

    image = pick(changing, lambda subset, zero, one: not subset and zero and not one)
    changing.labels[image] = "ant" if changing.labels[image] != "ant" else "bee"
    # of the four other encoders, the probes of seed 0
    assert changing.run() == {"prepare": 1, "supervised": 1, "features": 2, "probe": 2 + 4}


def test_a_corrected_test_label_is_one_question_more_to_every_probe(changing: Changing) -> None:
    changing.test_labels[0] = "cat"
    assert changing.run() == {"prepare": 1, "probe": 10}


def test_an_added_image_trains_exactly_what_contains_it(changing: Changing) -> None:
    rng = np.random.default_rng(3)
    draws = changing.draws()
    subset = set(draws.keys[draws.subset(24, 0)].tolist())
    changing.train = np.concatenate([changing.train, rng.integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)])
    changing.labels = np.append(changing.labels, "ant")
    executed = changing.run()
    draws = changing.draws()
    assert set(draws.keys[draws.subset(24, 0)].tolist()) == subset, "choose another image"
    # `images: all` contains it, once with labels and once without; a random encoder takes its statistics
    # from all images; the features of the training images are those of one image more
    assert {m: executed[m] for m in ("simclr", "supervised", "random")} == {
        "simclr": 1, "supervised": 1, "random": 1
    }  # fmt: skip


def test_names_files_formats_and_classes_are_in_no_identity(changing: Changing) -> None:
    plan = changing.sweeps.plan(GRID.replace("SETS", "a"))
    rows = results(plan, changing.sweeps.store).to_pylist()
    before = {(r["method"], r["probe_seed"], r["images"]): r["top1"] for r in rows}
    answers = per_class(changing, plan)
    order = np.random.default_rng(2).permutation(60)  # reordered files, under another name of the dataset
    changing.train, changing.labels = changing.train[order], changing.labels[order]
    other = GRID.replace("SETS", "renamed").replace("a_t", "b_t")
    assert changing.run(other, "b") == {"prepare": 1}
    assert {(r["method"], r["probe_seed"], r["images"]): r["top1"] for r in changing.rows} == before

    folder = changing.sweeps.folder  # another format
    for split, images, labels in (
        ("train", changing.train, changing.labels), ("test", changing.test, changing.test_labels)
    ):  # fmt: skip
        from PIL import Image

        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = folder / "c" / split / label / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    files = "{source: folder, train: c/train, test: c/test, size: 8}"
    lines = [f"  c: {files}" if "npz" in line else line for line in GRID.splitlines()]
    assert changing.run("\n".join(lines).replace("SETS", "c") + "\n") == {"prepare": 1}

    # a renamed class moves in the order of names: predictions are mapped to the numbers of today
    rename = {"ant": "zebra", "bee": "bee", "cat": "cat"}
    changing.labels, changing.test_labels = (
        np.array([rename[str(name)] for name in names]) for names in (changing.labels, changing.test_labels)
    )
    assert changing.run() == {"prepare": 1}
    renamed = per_class(changing, changing.sweeps.plan(GRID.replace("SETS", "a")))
    assert {(id, rename[name]): n for (id, name), n in answers.items()} == renamed


def per_class(changing: Changing, plan: Any) -> dict[tuple[str, str], tuple[int, int]]:
    rows = results_per_class(plan, changing.sweeps.store).to_pylist()
    return {(r["cell_id"], r["class_name"]): (r["n_test"], r["correct"]) for r in rows}


def test_a_training_image_that_becomes_a_test_image_trains_what_contained_it(changing: Changing) -> None:
    image = pick(changing, lambda subset, zero, one: not subset and not zero and not one)
    changing.test = np.concatenate([changing.test, changing.train[image : image + 1]])
    changing.test_labels = np.append(changing.test_labels, changing.labels[image])
    executed = changing.run()
    assert {m: executed[m] for m in ("simclr", "supervised", "random")} == {
        "simclr": 1, "supervised": 1, "random": 0
    }  # fmt: skip


def test_steps_with_several_epochs_fall_together(sweeps: Any) -> None:
    grid = GRID.replace("SETS", "a").replace("epochs: 1", "steps: 3, epochs: [50, 80]")
    changing = Changing(sweeps)
    np.savez(sweeps.folder / "a_train.npz", images=changing.train, labels=changing.labels)
    np.savez(sweeps.folder / "a_test.npz", images=changing.test, labels=changing.test_labels)
    once = sweeps.plan(grid)
    assert len(once.pretrainings) == 4
    for epochs in ("50", "80"):
        alone = sweeps.plan(grid.replace("[50, 80]", epochs))
        assert {s.id for s in alone.pretrainings} == {s.id for s in once.pretrainings}


def test_pools_whose_members_share_images_differ(sweeps: Any) -> None:
    grid = """\
        name: pools
        datasets:
          a: {source: npz, train: a.npz, test: a_test.npz, size: 8}
          b: {source: npz, train: b.npz, test: a_test.npz, size: 8}
          c: {source: npz, train: c.npz, test: a_test.npz, size: 8}
        pretrain:
          - {domain: [[a, b], [a, c]], images: 40, epochs: 1, batch: 8}
        evaluate:
          - {domain: a, labels: 12, protocol: knn}
        """
    changing = Changing(sweeps)
    for name, part in (("a", slice(0, 20)), ("b", slice(20, 40)), ("c", slice(10, 30))):
        np.savez(sweeps.folder / f"{name}.npz", images=changing.train[part], labels=changing.labels[part])
    np.savez(sweeps.folder / "a_test.npz", images=changing.test, labels=changing.test_labels)
    run_here(sweeps, grid)
    shared, apart = (stage.spec.images for stage in sweeps.plan(grid).pretrainings)
    assert shared != apart
