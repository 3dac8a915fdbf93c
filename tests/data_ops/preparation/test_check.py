"""Everything wrong with a dataset is found and named: bad files, labels, classes, copies, leaks."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from image_files import write_csv
from PIL import Image

from ssl_sweep.data_ops.dataset.duplicates import without_copy_number
from ssl_sweep.data_ops.dataset.prepared import SPLITS, PreparedDataset
from ssl_sweep.data_ops.preparation.check import Finding, Scanned, check_across, check_dataset
from ssl_sweep.data_ops.preparation.prepare import prepare
from ssl_sweep.data_ops.preparation.scan import SplitScan, scan
from ssl_sweep.data_ops.sources.registry import CsvSource, DigitsSource, FolderSource, Source, SyntheticSource

Rows = list[tuple[bytes, str, str]]


def scanned(source: Source, name: str = "mine", pretrains: bool = False, evaluates: bool = False) -> Scanned:
    return Scanned(name=name, source=source, splits=scan(source), pretrains=pretrains, evaluates=evaluates)


def split_of(split: str, labels: Sequence[tuple[str | None, ...]], groups: Sequence[str] = ()) -> SplitScan:
    """A split of distinct images with these labels."""
    n = len(labels)
    return SplitScan(
        split="train" if split == "train" else "test",
        names=tuple(f"{split}{i}.png" for i in range(n)),
        ids=np.array([f"{split}{i}".ljust(32, "0") for i in range(n)], dtype="S32"),
        labels=tuple(labels),
        groups=tuple(groups) or (None,) * n,
        sizes=np.full((n, 2), 8),
    )


@pytest.mark.parametrize("evaluates", [True, False])
def test_one_class_is_a_problem_of_an_evaluation_only(evaluates: bool) -> None:
    splits = (split_of("train", [("cat",)] * 3), split_of("test", [("cat",)] * 2))
    data = Scanned(name="mine", source=FolderSource("mine"), splits=splits, evaluates=evaluates)
    found = of_kind(check_dataset(data), "one class")
    assert found.severe == evaluates and "all labels are 'cat'" in found.message
    pair = split_of("train", [("cat",), ("dog",)])
    two = Scanned(name="mine", source=FolderSource("mine"), splits=(pair, splits[1]), evaluates=True)
    assert "one class" not in {finding.kind for finding in check_dataset(two)}


def of_kind(findings: Sequence[Finding], kind: str) -> Finding:
    (found,) = [finding for finding in findings if finding.kind == kind]
    return found


def bad_files(root: Path) -> dict[str, str]:
    """Files that are not images, in the class "ant": their names and a word of the reason."""
    jpeg = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(jpeg, "JPEG")
    bomb = io.BytesIO()
    Image.new("1", (20000, 20000)).save(bomb, "PNG")
    contents = {
        "cut.jpg": (jpeg.getvalue()[: len(jpeg.getvalue()) // 2], "truncated"),
        "empty.png": (b"", "empty"),
        "text.jpg": (b"this is no image, whatever its name says", "not a readable image"),
        "bomb.png": (bomb.getvalue(), "decompression bomb"),
    }
    for name, (data, _) in contents.items():
        (root / "ant" / name).write_bytes(data)
    return {name: reason for name, (_, reason) in contents.items()}


def test_every_bad_image_is_named_with_its_reason(
    tmp_path: Path, rows: Rows, folder: Callable[..., str]
) -> None:
    train, test = folder(rows[:30], "train"), folder(rows[30:], "test")
    expected = bad_files(tmp_path / "train")
    odd = os.path.join(os.fsencode(tmp_path / "train" / "bee"), b"n\xe9.png")
    with open(odd, "wb") as file:
        file.write(b"not an image either")
    gone = tmp_path / "train" / "cat" / "gone.png"
    gone.symlink_to(tmp_path / "train" / "cat" / "0002.png")
    data = scanned(FolderSource(train, test))
    found = of_kind(check_dataset(data), "bad images")
    assert found.severe
    assert len(found.items) == len(expected) + 1
    for name, reason in expected.items():
        (line,) = [item for item in found.items if f"/ant/{name}: " in item]
        assert reason in line
    (line,) = [item for item in found.items if "/bee/" in item]
    assert r"n\xe9.png" in line
    line.encode()
    assert not of_kind(check_dataset(data, skips_bad=True), "bad images").severe
    assert len(data.splits[0]) == 31, "a link to a good image is one"


def test_good_images_of_every_kind_are_not_bad(tmp_path: Path) -> None:
    top = tmp_path / "train" / "all"
    top.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (12, 9, 3), dtype=np.uint8))
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        rgb.convert(mode).save(top / f"{mode}.png")
    rgb.convert("CMYK").save(top / "cmyk.jpg")
    Image.fromarray(rng.integers(0, 1 << 16, (12, 9)).astype(np.uint16)).save(top / "16.png")
    rgb.save(top / "animated.gif", save_all=True, append_images=[rgb.rotate(90)])
    data = scanned(FolderSource(str(tmp_path / "train"), test_fraction=0.3))
    assert not [finding for finding in check_dataset(data) if finding.severe]
    assert sum(map(len, data.splits)) == 9
    assert {tuple(size) for split in data.splits for size in split.sizes.tolist()} == {(12, 9)}


@pytest.mark.parametrize("kind", ["png", "tiff", "colour"])
@pytest.mark.parametrize(("bits", "reported"), [(8, True), (12, True), (13, False), (16, False)])
def test_sixteen_bits_that_hold_fewer(tmp_path: Path, kind: str, bits: int, reported: bool) -> None:
    top = tmp_path / "train" / "all"
    top.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(6):
        values = rng.integers(0, 1 << bits, (9, 9, 3 if kind == "colour" else 1)).astype(np.uint16)
        values[0, 0] = (1 << bits) - 1 if i == 5 else 0
        if kind == "colour":
            (top / f"{i}.png").write_bytes(png16(values))
        else:
            Image.fromarray(values[..., 0]).save(top / f"{i}.{kind}")
    Image.new("L", (9, 9), 3).save(top / "dark.png")  # 8 bits: a dark image is not an error
    findings = check_dataset(scanned(FolderSource(str(tmp_path / "train"), test_fraction=0.3)))
    if not reported:
        assert not [finding for finding in findings if finding.severe]
        return
    found = of_kind(findings, "dark 16-bit images")
    assert found.severe and len(found.items) == 6
    most = (1 << bits) - 1
    assert f"6 images of 16 bits without a value above {most:,} of 65,535" in found.message
    assert "rescale them to 8 bits" in found.message


def png16(values: np.ndarray) -> bytes:
    """A PNG of 16-bit colours (H, W, 3), which Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def test_a_held_out_split_is_the_one_that_prepare_makes(
    tmp_path: Path, rows: Rows, folder: Callable[..., str]
) -> None:
    sources = (
        DigitsSource(seed=3),
        FolderSource(folder([*rows, *rows[:5]]), test_fraction=0.3, group=r"00(.)\d"),
    )
    for number, source in enumerate(sources):
        prepare(source, 8, tmp_path / str(number))
        data = PreparedDataset(tmp_path / str(number))
        for split, found in zip(SPLITS, scan(source), strict=True):
            assert sorted(found.ids) == sorted(without_copy_number(data.ids(split)))


def test_threads_and_progress_change_nothing() -> None:
    source = SyntheticSource("objects", train=700, test=30, size=8)
    told: list[int] = []
    one, three = scan(source, told.append), scan(source, threads=3)
    assert told == [512, 700, 730]
    for a, b in zip(one, three, strict=True):
        assert (a.names, a.labels, a.ids.tolist()) == (b.names, b.labels, b.ids.tolist())
    assert not check_dataset(scanned(source))


def test_a_source_that_ends_early_is_reported(tmp_path: Path, rows: Rows, folder: Callable[..., str]) -> None:
    source = FolderSource(folder(rows[:30], "train"), str(tmp_path / "nowhere"))
    found = of_kind(check_dataset(scanned(source)), "unreadable")
    assert found.severe
    assert "nowhere" in found.message


def test_labels_that_are_missing() -> None:
    source = CsvSource("nowhere.csv", levels=("fine", "coarse"))
    train = split_of("train", [("a", "x")] * 10 + [(None, None)] * 3 + [("a", None)])
    test = split_of("test", [("a", "x"), (None, None), (None, "x")])
    findings = check_dataset(Scanned(name="mine", source=source, splits=(train, test)))
    missing = [finding for finding in findings if finding.kind == "labels missing"]
    assert [(f.split, f.items) for f in missing] == [
        ("train", ("train13.png",)),
        ("test", ("test2.png",)),
        ("test", ("test1.png",)),
    ]
    assert not of_kind(findings, "unlabelled").severe
    assert "3 images" in of_kind(findings, "unlabelled").message


@pytest.mark.parametrize("evaluates", [False, True])
def test_images_without_any_label_cannot_be_evaluated_on(evaluates: bool) -> None:
    splits = (split_of("train", [(None,)] * 4), split_of("test", []))
    data = Scanned(name="mine", source=CsvSource("x.csv"), splits=splits, evaluates=evaluates)
    severe = [finding.severe for finding in check_dataset(data) if finding.kind == "unlabelled"]
    assert severe == [False, evaluates]


def test_classes_that_are_missing_rare_or_alike() -> None:
    train = split_of("train", [("a",)] * 12 + [("b",)] * 4 + [("Cat",)] * 10)
    test = split_of("test", [("a",)] * 3 + [("d",)] + [("cat",)])
    findings = check_dataset(Scanned(name="mine", source=CsvSource("x.csv"), splits=(train, test)))
    lacking = {f.split: (f.items, f.severe) for f in findings if f.kind == "classes missing"}
    assert lacking == {"train": (("cat", "d"), True), "test": (("Cat", "b"), False)}
    assert of_kind(findings, "few images").items == ("b: 4",)
    assert "differ only by case" in of_kind(findings, "classes").message


def test_a_class_with_two_parents() -> None:
    train = split_of("train", [("a", "x"), ("a", "y")])
    data = Scanned(
        name="mine",
        source=CsvSource("x.csv", levels=("fine", "coarse")),
        splits=(train, split_of("test", [])),
    )
    assert "two parents" in of_kind(check_dataset(data), "classes").message


def test_groups_that_are_on_both_sides() -> None:
    train = split_of("train", [("a",)] * 10, ["p1"] * 5 + ["p2"] * 5)
    test = split_of("test", [("a",)] * 2, ["p2", "p3"])
    findings = check_dataset(Scanned(name="mine", source=CsvSource("x.csv"), splits=(train, test)))
    assert of_kind(findings, "groups across splits").items == ("p2",)


def test_copies_within_and_across_splits(rows: Rows, folder: Callable[..., str]) -> None:
    torn = (rows[4][0], "dog", "mammal")  # rows[4] is an ant
    train = folder([*rows[:20], rows[0], torn], "train")
    test = folder([*rows[20:], rows[1]], "test")
    findings = check_dataset(scanned(FolderSource(train, test)), few=1)
    within = of_kind(findings, "copies within a split")
    assert within.message == "2 images repeated; the copies of 1 have different labels"
    assert within.severe
    assert sorted(within.items) == sorted(
        [f"{train}/ant/0000.png = {train}/ant/0020.png", f"{train}/ant/0004.png = {train}/dog/0021.png"]
    )
    across = of_kind(findings, "copies across splits")
    assert across.items == (f"{train}/bee/0001.png = {test}/bee/0020.png",)
    assert len(findings) == 2
    assert across.severe, "a sweep that does not use it leaves nothing out"
    used = scanned(FolderSource(train, test), pretrains=True, evaluates=True)
    for drops in (True, False):
        across = of_kind(check_dataset(used, drops_leaks=drops, few=1), "copies across splits")
        assert (across.severe, "leakage: drop" in across.message) == (not drops, drops)


def test_unlabelled_images_of_held_out_groups_are_a_note(tmp_path: Path, rows: Rows) -> None:
    lines = [[f"{i}.png", rows[i][1] if i % 2 else "", f"p{i // 4}"] for i in range(40)]
    for i, (data, _, _) in enumerate(rows):
        (tmp_path / f"{i}.png").write_bytes(data)
    table = write_csv(tmp_path / "x.csv", ["path", "label", "pt"], lines)
    found = check_dataset(scanned(CsvSource(table, group="pt", test_fraction=0.2)))
    note = of_kind(found, "left out")
    assert (len(note.items), note.severe) == (4, False)


def test_what_is_pretrained_on_must_not_be_tested_on(rows: Rows, folder: Callable[..., str]) -> None:
    pool = FolderSource(folder(rows[:20], "pool"), test_fraction=0.2)
    mine = FolderSource(folder(rows[22:30], "train"), folder([*rows[30:], rows[0], rows[1]], "test"))
    datasets = [scanned(pool, "pool", pretrains=True), scanned(mine, "mine", evaluates=True)]
    in_pool = {id for id in datasets[0].splits[0].ids} & {id for id in datasets[1].splits[1].ids}
    assert in_pool, "else this test tests nothing"
    for drops in (False, True):
        leak = of_kind(check_across(datasets, drops_leaks=drops), "leak")
        assert leak.severe != drops
        assert (leak.dataset, leak.split) == ("pool, mine", "train, test")
        assert len(leak.items) == len(in_pool)
    other = [scanned(pool, "pool"), scanned(mine, "mine", evaluates=True)]
    found = check_across(other, drops_leaks=False)
    assert {finding.kind for finding in found} == {"copies across datasets"}
    assert not any(finding.severe for finding in found)
    assert sum(len(finding.items) for finding in found) == 2


def test_one_source_under_two_names_is_no_copy_of_itself(rows: Rows, folder: Callable[..., str]) -> None:
    source = FolderSource(folder(rows), test_fraction=0.2)
    both = [scanned(source, "small", pretrains=True), scanned(source, "large", evaluates=True)]
    assert not check_across(both, drops_leaks=False)


def test_images_whose_centre_square_keeps_almost_nothing_are_named(tmp_path):
    """Row of faults: 5000 x 1."""
    for label in "ab":
        (tmp_path / label).mkdir()
        for i in range(60):
            Image.new("RGB", (8, 8), (i, ord(label), 0)).save(tmp_path / label / f"{i}.png")
    Image.new("RGB", (20, 2)).save(tmp_path / "a" / "wide.png")  # keeps a tenth
    Image.new("RGB", (5000, 1)).save(tmp_path / "a" / "strip.png")
    data = scanned(FolderSource(str(tmp_path)))
    found = of_kind(check_dataset(data), "thin images")
    assert [item.rpartition("/")[2] for item in found.items] == ["strip.png: 5000 x 1 px"]
    assert "1 image whose centred square is less than 10%" in found.message
    assert (found.split, found.severe) == ("train", False)
    Image.new("RGB", (1, 300)).save(tmp_path / "b" / "tall.png")  # more than 1 % of the images
    found = of_kind(check_dataset(scanned(FolderSource(str(tmp_path)))), "thin images")
    assert len(found.items) == 2 and found.severe
