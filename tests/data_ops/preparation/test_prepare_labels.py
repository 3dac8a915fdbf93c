"""Unlabelled images, groups and images that cannot be decoded, from source to prepared folder."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssl_sweep.data_ops.dataset.holdout import hold_out
from ssl_sweep.data_ops.dataset.prepared import DatasetManifest, PreparedDataset
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.preparation.prepare import prepare
from ssl_sweep.data_ops.preparation.scan import scan
from ssl_sweep.data_ops.sources.registry import (
    DigitsSource,
    FolderSource,
    ParquetSource,
    SyntheticSource,
    inspect,
)


def table(path: Path, images: list[bytes], **columns: list[object]) -> str:
    pq.write_table(pa.table({"image": images, **columns}), path)
    return str(path)


def test_signatures_and_fingerprints_from_before_stay(tmp_path, monkeypatch):
    # What users prepared with the first version must be found again: these values are from then.
    monkeypatch.chdir(tmp_path)
    for name in ("a/1.png", "b/2.png", "b/3.png", "a/4.png"):
        path = Path("images") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"P6 2 2 255\n" + bytes(range(int(path.stem), int(path.stem) + 12)))
        os.utime(path, ns=(10**18, 10**18))
    frozen = [
        (FolderSource("images", test_fraction=0.5), "59870534a188a121", "acf15faae6a6b950"),
        (FolderSource("images"), "6d5701b995a7ff6e", "4e1bf5e72602aa28"),
        (SyntheticSource("objects", 20, 10), "b5dab12643340154", "fb814133c158945c"),
        (DigitsSource(), None, "0b338447e7ba06fe"),  # its signature has scikit-learn's version
    ]
    for source, signature, fingerprint in frozen:
        assert signature in (None, inspect(source).signature[:16])
        assert prepare(source, 8, tmp_path / "out").fingerprint[:16] == fingerprint
    changed = dataclasses.replace(FolderSource("images"), on_bad_image="skip")
    assert inspect(changed).signature[:16] != frozen[1][1]


def test_an_old_manifest_still_loads():
    old = (
        '{"fingerprint": "f", "size": 8, "n_train": 3, "n_test": 1, "levels": ["label"], '
        '"class_names": [["a"]], "parents": []}'
    )
    manifest = DatasetManifest.from_json(old)
    assert (manifest.n_labeled, manifest.skipped, manifest.class_counts) == (3, (), ())


def test_unlabelled_images_are_minus_one_and_never_tested(rows, tmp_path):
    images = [data for data, _, _ in rows]
    labels = [fine if i % 3 else None for i, (_, fine, _) in enumerate(rows)]
    source = ParquetSource(table(tmp_path / "x.parquet", images, label=labels), test_fraction=0.2)
    info, manifest = inspect(source), prepare(source, 16, tmp_path / "a")
    assert (info.n_train, info.n_test, info.n_labeled) == (35, 5, 21)
    assert (manifest.n_train, manifest.n_test, manifest.n_labeled) == (35, 5, 21)
    data = PreparedDataset(tmp_path / "a")
    assert data.groups("train") is None
    assert (data.labels("train") == -1).sum() == 14 and (data.labels("test") >= 0).all()
    assert manifest.class_counts == (tuple(np.bincount(data.labels("train")[data.labels("train") >= 0])),)
    assert manifest.class_names == (("ant", "bee", "cat", "dog"),)


def test_a_set_without_any_label(rows, tmp_path):
    images = [data for data, _, _ in rows]
    where = table(tmp_path / "x.parquet", images, label=pa.nulls(40, pa.string()))
    manifest = prepare(ParquetSource(where), 16, tmp_path / "a")
    assert (manifest.n_train, manifest.n_labeled, manifest.class_names) == (40, 0, ((),))
    with pytest.raises(DataError, match="at least two images with labels"):
        inspect(ParquetSource(where, test_fraction=0.5))


def test_labels_must_be_whole_and_there_for_test_images(rows, tmp_path):
    images = [data for data, _, _ in rows[:3]]
    half = table(tmp_path / "x.parquet", images, label=["a", "b", "a"], up=["u", None, "u"])
    with pytest.raises(DataError, match=r"x\.parquet, row 1: labels at some levels only"):
        prepare(ParquetSource(half, levels=("label", "up")), 16, tmp_path / "a")
    test = table(tmp_path / "y.parquet", images, label=["a", None, "a"])
    with pytest.raises(DataError, match=r"y\.parquet, row 1: no label, and it is a test image"):
        prepare(ParquetSource(half, test=test), 16, tmp_path / "a")


def test_a_folder_beside_the_classes_is_unlabelled(rows, folder, tmp_path):
    root, more = folder(rows[:20]), tmp_path / "more" / "deep"
    more.mkdir(parents=True)
    for i, (data, _, _) in enumerate(rows[20:]):
        (more / f"{i}.png").write_bytes(data)
    source = FolderSource(root, unlabelled=str(tmp_path / "more"), test_fraction=0.25)
    info, manifest = inspect(source), prepare(source, 16, tmp_path / "a")
    assert (info.n_train, info.n_test, info.n_labeled) == (35, 5, 15)
    assert (manifest.n_train, manifest.n_test, manifest.n_labeled) == (35, 5, 15)


def test_groups_stay_on_one_side_and_are_stored(rows, tmp_path):
    images = [data for data, _, _ in rows]
    labels = [fine for _, fine, _ in rows]
    scene = [f"s{i // 4}" if i < 32 else None for i in range(40)]
    images[39] = images[0]  # an exact copy joins its image's scene
    where = table(tmp_path / "x.parquet", images, label=labels, scene=scene)
    back = table(tmp_path / "y.parquet", images[::-1], label=labels[::-1], scene=scene[::-1])
    for seed in range(10):
        source = ParquetSource(where, group="scene", test_fraction=0.3, seed=seed)
        manifest = prepare(source, 16, tmp_path / "a")
        data = PreparedDataset(tmp_path / "a")
        train, test = data.groups("train"), data.groups("test")
        assert train is not None and test is not None and len(train) + len(test) == 40
        assert not (set(train) & set(test)) - {-1}
        assert not {i[:32] for i in data.ids("train")} & {i[:32] for i in data.ids("test")}
        assert manifest.n_test == 12
    other = prepare(dataclasses.replace(source, train=back), 16, tmp_path / "b")
    assert other.fingerprint == manifest.fingerprint
    ungrouped = prepare(dataclasses.replace(source, group=None), 16, tmp_path / "a")
    assert ungrouped.fingerprint != manifest.fingerprint
    assert PreparedDataset(tmp_path / "a").groups("train") is None  # nothing is left of the grouped one


def test_groups_too_large_for_the_share(tmp_path):
    digests = np.array([f"{i:032x}" for i in range(10)], dtype="S32")
    labeled = np.ones(10, dtype=bool)
    halves = np.repeat([0, 1], 5)
    train, test = hold_out(digests, halves, labeled, 0.1, 0)
    assert len(test) == 5 and set(halves[test]).isdisjoint(halves[train])
    with pytest.raises(DataError, match="no test images can be held out"):
        hold_out(digests, np.zeros(10, dtype=np.int64), labeled, 0.1, 0)


def test_of_a_held_out_group_the_unlabelled_images_are_in_neither_split():
    digests = np.array([f"{i:032x}" for i in range(100)], dtype="S32")
    patient, labeled = np.arange(100) // 10, np.arange(100) % 10 < 2
    train, test = hold_out(digests, patient, labeled, 0.3, 0)
    assert (len(train), len(test)) == (70, 6) and labeled[test].all()
    assert set(patient[test]).isdisjoint(patient[train])
    labeled[:80] = True  # enough images are in groups that are wholly labelled
    train, test = hold_out(digests, patient, labeled, 0.3, 0)
    assert (len(train) + len(test), set(patient[test]) & {8, 9}) == (100, set())


@pytest.mark.parametrize(
    ("sizes", "share", "off"),
    [([7, 5, 3], 0.5, 1), ([4, 7, 20], 0.25, 1), ([5] * 4, 0.4, 2), ([9, 8], 0.2, 5)],
)
def test_the_share_is_met_as_nearly_as_the_groups_allow(sizes, share, off):
    n = sum(sizes)
    digests = np.array([f"{i:032x}" for i in range(n)], dtype="S32")
    groups = np.repeat(np.arange(len(sizes)), sizes)
    for seed in range(8):
        train, test = hold_out(digests, groups, np.ones(n, dtype=bool), share, seed)
        assert len(train) + len(test) == n
        assert abs(len(test) - round(n * share)) <= off


def test_unlabelled_images_of_held_out_groups_are_recorded(rows, tmp_path):
    images = [data for data, _, _ in rows]
    labels = [fine if i % 10 < 2 else None for i, (_, fine, _) in enumerate(rows)]
    patient = [f"p{i // 10}" for i in range(40)]
    where = table(tmp_path / "x.parquet", images, label=labels, pt=patient)
    source = ParquetSource(where, group="pt", test_fraction=0.3)
    manifest = prepare(source, 16, tmp_path / "a")
    assert (manifest.n_train, manifest.n_test, len(manifest.skipped)) == (30, 2, 8)
    said = [line for line in manifest.skipped if line.endswith(": unlabelled image of a held-out group")]
    assert len(said) == 8
    train, _ = scan(source)
    assert sorted(f"{name}: unlabelled image of a held-out group" for name in train.left_out) == sorted(said)
    whole = dataclasses.replace(source, group=None)
    assert prepare(whole, 16, tmp_path / "b").skipped == ()


def test_a_folder_s_groups_come_from_the_path(rows, folder, tmp_path):
    for i, (data, fine, _) in enumerate(rows):
        path = tmp_path / "images" / fine / f"patient{i % 5}-{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    source = FolderSource(str(tmp_path / "images"), group=r"/patient(\d+)-", test_fraction=0.4)
    prepare(source, 16, tmp_path / "a")
    data = PreparedDataset(tmp_path / "a")
    train, test = data.groups("train"), data.groups("test")
    assert train is not None and test is not None
    assert len(set(train)) == 3 and len(set(test)) == 2
    for wrong, message in (
        ("(", "not a valid regular expression"),
        ("x", "0 capture groups"),
        ("(a)(b)", "2 capture"),
    ):
        with pytest.raises(DataError, match=message):
            inspect(dataclasses.replace(source, group=wrong))


def test_bad_images_are_skipped_and_recorded(rows, folder, tmp_path):
    root = Path(folder(rows))
    clean = prepare(FolderSource(str(root)), 16, tmp_path / "a")
    (root / "ant" / "cut.png").write_bytes(rows[0][0][:60])
    (root / "bee" / "empty.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"cut\.png: not a readable image"):
        prepare(FolderSource(str(root)), 16, tmp_path / "b")
    skipping = FolderSource(str(root), on_bad_image="skip")
    manifest = prepare(skipping, 16, tmp_path / "b", threads=2)
    assert inspect(skipping).n_train == 42 and manifest.n_train == 40
    assert [Path(reason.partition(": ")[0]).name for reason in manifest.skipped] == ["cut.png", "empty.png"]
    assert manifest.skipped[1].endswith("empty.png: empty image; replace or remove it")
    assert manifest.fingerprint != clean.fingerprint
    (root / "bee" / "empty.png").rename(root / "bee" / "other.png")
    assert prepare(skipping, 16, tmp_path / "b").fingerprint == manifest.fingerprint
    (root / "bee" / "other.png").write_bytes(b"another")
    assert prepare(skipping, 16, tmp_path / "b").fingerprint != manifest.fingerprint
    for bad in ("ant/cut.png", "bee/other.png"):
        (root / bad).unlink()
    assert prepare(skipping, 16, tmp_path / "b").fingerprint == clean.fingerprint


def test_what_is_skipped_is_known_by_its_bytes_not_its_name_or_format(rows, folder, tmp_path):
    bad = (rows[0][0][:60], "ant", "insect")
    images, labels = zip(*[(data, fine) for data, fine, _ in [*rows, bad]], strict=True)
    sources = [
        FolderSource(folder([*rows, bad]), on_bad_image="skip"),
        ParquetSource(table(tmp_path / "x.parquet", images, label=labels), on_bad_image="skip"),
        ParquetSource(table(tmp_path / "y.parquet", images, label=labels), on_bad_image="skip"),
    ]
    made = [prepare(source, 16, tmp_path / str(i)) for i, source in enumerate(sources)]
    assert len({manifest.fingerprint for manifest in made}) == 1
    assert len({manifest.skipped for manifest in made}) == 3


def test_all_test_images_bad(rows, folder, tmp_path):
    train, test = folder(rows[:20], "train"), Path(folder(rows[20:22], "test"))
    for path in test.rglob("*.png"):
        path.write_bytes(b"x")
    with pytest.raises(DataError, match=r"train: no test image can be read; the first error: .*0000\.png"):
        prepare(FolderSource(train, str(test), on_bad_image="skip"), 16, tmp_path / "a")


def test_all_images_bad(rows, folder, tmp_path):
    root = Path(folder(rows[:2]))
    for path in root.rglob("*.png"):
        path.write_bytes(b"x")
    with pytest.raises(DataError, match=r"no training image can be read; the first error: .*0000\.png"):
        prepare(FolderSource(str(root), on_bad_image="skip"), 16, tmp_path / "a")
