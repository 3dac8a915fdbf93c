"""Prepared folders depend on images and labels only, and survive kills and races."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssl_sweep.data_ops.dataset.prepared import DatasetManifest, PreparedDataset
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.preparation.check import Scanned, check_dataset
from ssl_sweep.data_ops.preparation.prepare import prepare
from ssl_sweep.data_ops.preparation.scan import scan
from ssl_sweep.data_ops.sources.registry import (
    DigitsSource,
    FolderSource,
    NpzSource,
    ParquetSource,
    SyntheticSource,
    inspect,
)
from ssl_sweep.data_ops.synthetic import domains as synthetic

ROOT = Path(__file__).parents[3]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.smoke
def test_rows_hold_the_right_image_and_label(tmp_path):
    reported: list[tuple[int, int]] = []
    source = SyntheticSource("scenes", train=700, test=30, seed=3)
    manifest = prepare(source, 32, tmp_path, lambda done, total: reported.append((done, total)))
    data = PreparedDataset(tmp_path)
    assert data.manifest == manifest == DatasetManifest.from_json(manifest.to_json())
    assert (manifest.n_train, manifest.n_test, manifest.levels) == (700, 30, ("scene", "kind", "super"))
    assert reported == [(512, 730), (700, 730), (730, 730)]
    assert np.array_equal(data.ids("train"), np.sort(data.ids("train")))
    assert not data.images("train").flags.writeable
    lineage = synthetic.DOMAINS["scenes"].lineage
    for split, first, n in (("train", 0, 700), ("test", synthetic.MAX_IMAGES, 30)):
        pixels = synthetic.render("scenes", first + np.arange(n), 3)
        row_of = {image.tobytes(): row for row, image in enumerate(data.images(split))}
        rows = np.array([row_of[image.tobytes()] for image in pixels])
        for level, name in enumerate(manifest.levels):
            names = [manifest.class_names[level][c] for c in data.labels(split, name)[rows]]
            assert names == [lineage[i][level] for i in synthetic.labels("scenes", first + np.arange(n))]
    fine, parents = data.labels("train"), np.array(manifest.parents[0])
    assert np.array_equal(parents[fine], data.labels("train", "kind"))
    assert len(np.unique(data.keys("train"))) == 700
    assert data.keys("train")[5] == int(data.ids("train")[5][:16], 16)


def test_format_path_and_order_leave_no_trace(rows, parquet, folder, tmp_path):
    one = prepare(ParquetSource(parquet(rows), test_fraction=0.25), 16, tmp_path / "a")
    prepare(ParquetSource(parquet(rows[::-1], "b.parquet"), test_fraction=0.25), 16, tmp_path / "b")
    prepare(FolderSource(folder(rows), test_fraction=0.25), 16, tmp_path / "c", threads=3)
    assert (one.n_train, one.n_test) == (30, 10)
    assert contents(tmp_path / "a") == contents(tmp_path / "b") == contents(tmp_path / "c")
    seeded = prepare(ParquetSource(parquet(rows), test_fraction=0.25, seed=1), 16, tmp_path / "d")
    assert seeded.fingerprint != one.fingerprint


def test_fingerprint_follows_image_label_size_and_levels(rows, parquet, tmp_path):
    def fingerprint(name: str, size: int = 16, **fields: tuple[str, ...]) -> str:
        return prepare(ParquetSource(parquet(rows), **fields), size, tmp_path / name).fingerprint

    seen = [fingerprint("a"), fingerprint("b", 15), fingerprint("c", levels=("label", "group"))]
    image, fine, coarse = rows[4]
    rows[4] = (rows[5][0], fine, coarse)
    seen.append(fingerprint("d"))
    rows[4] = (image, "dog", "mammal")
    seen.append(fingerprint("e"))
    rows[4] = (image, fine, coarse)
    assert fingerprint("f") == seen[0]
    assert len(set(seen)) == len(seen)


def test_exact_copies_get_their_own_ids_and_keys_and_stay_on_one_side(rows, parquet, tmp_path):
    image = rows[0][0]
    several = [(image, "ant", "insect"), (image, "bee", "insect"), (image, "ant", "insect"), *rows[1:]]
    prepare(ParquetSource(parquet(several)), 16, tmp_path / "a")
    prepare(ParquetSource(parquet(several[::-1])), 16, tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    data = PreparedDataset(tmp_path / "a")
    ids = data.ids("train")
    copies = [i for i, name in enumerate(ids) if name.endswith(("-1", "-2"))]
    assert [ids[i].split("-")[1] for i in copies] == ["1", "2"]
    group = [copies[0] - 1, *copies]
    assert len(set(ids)) == len(set(data.keys("train"))) == 42
    assert [data.manifest.class_names[0][c] for c in data.labels("train")[group]] == ["ant", "ant", "bee"]
    for seed in range(12):
        source = ParquetSource(parquet(several), test_fraction=0.3, seed=seed)
        manifest = prepare(source, 16, tmp_path / "split")
        data = PreparedDataset(tmp_path / "split")
        sides = [{name.split("-")[0] for name in data.ids(split)} for split in ("train", "test")]
        assert not sides[0] & sides[1]
        info = inspect(source)
        assert (manifest.n_train, manifest.n_test) == (info.n_train, info.n_test)


def test_ids_and_keys_of_copies_are_within_a_split(rows, parquet, tmp_path):
    prepare(ParquetSource(parquet(rows), test=parquet(rows[:3], "test.parquet")), 16, tmp_path / "a")
    data = PreparedDataset(tmp_path / "a")
    assert set(data.ids("test")) < set(data.ids("train"))  # so that a leak shows as an equal id


@pytest.mark.smoke
def test_a_set_without_test_split(rows, parquet, tmp_path):
    manifest = prepare(ParquetSource(parquet(rows)), 16, tmp_path / "a")
    assert manifest.n_test == 0
    data = PreparedDataset(tmp_path / "a")
    assert data.images("test").shape == (0, 16, 16, 3) and data.labels("test").shape == (0,)


def test_numbers_are_ordered_by_value_and_digits_split(tmp_path):
    manifest = prepare(DigitsSource(), 16, tmp_path)
    assert manifest.class_names == (tuple("0123456789"), ("even", "odd"))
    assert manifest.parents == ((0, 1) * 5,)
    assert PreparedDataset(tmp_path).images("test").shape == (539, 16, 16, 3)


def test_two_parents_are_refused_by_name(rows, parquet, tmp_path):
    rows[8] = (rows[8][0], "ant", "mammal")
    source = ParquetSource(parquet(rows), levels=("label", "group"))
    with pytest.raises(DataError, match="label 'ant' has two parents in 'group', 'insect' and 'mammal'"):
        prepare(source, 16, tmp_path / "a")


def test_a_coarse_name_under_two_parents_is_refused_by_name(tmp_path):
    """It would merge two classes, and a probe of the genera could not be scored by family."""
    species = {
        "Prunella vulgaris": ("Prunella", "Lamiaceae"),
        "Prunella modularis": ("Prunella", "Prunellidae"),
        "Salvia pratensis": ("Salvia", "Lamiaceae"),
    }
    labels = np.array([(name, *above) for name, above in species.items()] * 4)
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
    levels = ("species", "genus", "family")
    np.savez(tmp_path / "x.npz", images=images, labels=labels)
    source = NpzSource(str(tmp_path / "x.npz"), levels=levels)
    said = "genus 'Prunella' has two parents in 'family', 'Prunellidae' and 'Lamiaceae'.* Make the names dist"
    with pytest.raises(DataError, match=said):
        prepare(source, 8, tmp_path / "a")
    (finding,) = [f for f in check_dataset(Scanned(name="x", source=source, splits=scan(source))) if f.severe]
    assert re.search(said, finding.message)
    labels[labels[:, 2] == "Prunellidae", 1] = "Prunella (birds)"
    np.savez(tmp_path / "x.npz", images=images, labels=labels)
    assert prepare(source, 8, tmp_path / "a").parents == ((1, 0, 2), (1, 0, 0))


def test_classes_that_differ_by_case_are_refused(rows, parquet, tmp_path):
    rows[8] = (rows[8][0], "Ant", "insect")
    with pytest.raises(DataError, match="label: classes 'Ant' and 'ant' differ only by case"):
        prepare(ParquetSource(parquet(rows)), 16, tmp_path / "a")


def test_a_corrupt_image_is_named_and_leaves_nothing(rows, parquet, tmp_path):
    rows[30] = (b"\x89PNG no", "ant", "insect")
    with pytest.raises(DataError, match=r"row 30 \(30\.png\)"):
        prepare(ParquetSource(parquet(rows)), 16, tmp_path / "a", threads=2)
    assert list((tmp_path / "a").iterdir()) == []
    with pytest.raises(DataError, match="prepare the dataset first"):
        PreparedDataset(tmp_path / "a")


def test_another_dataset_in_the_same_folder_is_replaced(tmp_path):
    prepare(SyntheticSource("objects", 40, 10), 16, tmp_path / "a")
    second = prepare(SyntheticSource("scenes", 30, 10), 16, tmp_path / "a")
    prepare(SyntheticSource("scenes", 30, 10), 16, tmp_path / "b")
    assert PreparedDataset(tmp_path / "a").manifest == second
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize("damage", ["cut", "gone", "spoilt", "more"])
def test_a_damaged_copy_is_made_whole(tmp_path, damage):
    source = SyntheticSource("objects", 30, 10)
    prepare(source, 16, tmp_path / "a")
    before = contents(tmp_path / "a")
    spoil = {
        "cut": lambda: os.truncate(tmp_path / "a" / "train.npy", 500),
        "gone": lambda: (tmp_path / "a" / "train_keys.npy").unlink(),
        "spoilt": lambda: (tmp_path / "a" / "test.npy").write_bytes(bytes(len(before["test.npy"]))),
        "more": lambda: np.save(tmp_path / "a" / "train_groups.npy", np.zeros(30)),
    }
    spoil[damage]()
    assert contents(tmp_path / "a") != before
    prepare(source, 16, tmp_path / "a")
    assert contents(tmp_path / "a") == before


def test_what_is_published_is_read_back(tmp_path, monkeypatch):
    from ssl_sweep.data_ops.preparation import prepare as module

    def publish_badly(work: Path, out_dir: Path, last: str) -> None:
        publish(work, out_dir, last)
        os.truncate(out_dir / "test_ids.npy", 10)

    publish = module.publish
    monkeypatch.setattr(module, "publish", publish_badly)
    with pytest.raises(DataError, match="test cannot be read back"):
        prepare(SyntheticSource("objects", 30, 10), 16, tmp_path / "a")


def test_unknown_level_and_split(tmp_path):
    prepare(SyntheticSource("objects", 20, 10), 16, tmp_path)
    data = PreparedDataset(tmp_path)
    with pytest.raises(DataError, match="no label level 'kingdom'; this dataset has object, shape, outline"):
        data.labels("train", "kingdom")
    with pytest.raises(DataError, match="no split 'val'"):
        data.images("val")  # type: ignore[arg-type]


PREPARE = """
import os, signal, sys
from pathlib import Path
import numpy as np
from ssl_sweep.data_ops.preparation import prepare as module
from ssl_sweep.data_ops.sources.registry import SyntheticSource

out_dir, doomed, calls = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def die_at_call(function):
    def wrapped(*args, **kwargs):
        global calls
        calls -= 1
        if calls < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return wrapped

if doomed == "save":
    np.save = die_at_call(np.save)
if doomed == "replace":
    os.replace = die_at_call(os.replace)
progress = die_at_call(lambda *counts: None) if doomed == "progress" else None
module.prepare(SyntheticSource("objects", 1500, 200), 32, out_dir, progress)
"""


def start(out_dir: Path, doomed: str = "never", calls: int = 0) -> subprocess.Popen[bytes]:
    """A process that prepares ``out_dir``, killed -9 in the call after ``calls`` calls of this function."""
    return subprocess.Popen([sys.executable, "-c", PREPARE, str(out_dir), doomed, str(calls)], cwd=ROOT)


@pytest.mark.slow
def test_killed_at_any_moment_a_rerun_gives_the_same_bytes(tmp_path):
    assert start(tmp_path / "whole").wait() == 0
    whole = contents(tmp_path / "whole")
    target = tmp_path / "killed"
    moments = [("progress", 0), ("progress", 3), ("save", 0), ("save", 4)]
    moments += [("replace", moved) for moved in range(9)]  # eight arrays, then the manifest
    for doomed, calls in moments:
        assert start(target, doomed, calls).wait() == -signal.SIGKILL
        with pytest.raises(DataError, match="prepare the dataset first"):
            PreparedDataset(target)
    assert start(target, "replace", 9).wait() == 0
    assert contents(target) == whole


@pytest.mark.slow
def test_two_processes_may_prepare_one_folder_at_once(tmp_path):
    both = [start(tmp_path / "shared") for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    prepare(SyntheticSource("objects", 1500, 200), 32, tmp_path / "alone")
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")


def test_a_living_process_keeps_its_workspace_and_a_dead_ones_goes(tmp_path):
    from ssl_sweep.data_ops.preparation.workspace import workspace

    left = tmp_path / ".writing-left"
    left.mkdir()
    with workspace(tmp_path) as mine:
        assert not left.exists()
        with workspace(tmp_path) as other:
            assert mine.exists() and other.exists() and mine != other
    assert os.listdir(tmp_path) == []
