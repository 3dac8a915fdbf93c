"""CSV, npz and WebDataset: the same images in any format are the same dataset, and wrong files are named."""

from __future__ import annotations

import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import LEVELS, Row, csv_of, npz_of, shards_of, write_csv, write_tar

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.preparation.prepare import prepare
from ssl_sweep.data_ops.sources.decode import decode_rgb
from ssl_sweep.data_ops.sources.registry import (
    CsvSource,
    FolderSource,
    NpzSource,
    ParquetSource,
    WebDatasetSource,
    inspect,
    iterate,
)


def whole_csv(folder: Path, rows: list[Row], train: list[str], test: list[str]) -> CsvSource:
    """Tables with these labels, whose images are the first of ``rows``."""
    for name, first, labels in (("train", 0, train), ("test", len(train), test)):
        for i in range(first, first + len(labels)):
            (folder / f"{i}.png").write_bytes(rows[i][0])
        lines = [[f"{first + i}.png", label] for i, label in enumerate(labels)]
        write_csv(folder / f"{name}.csv", ["path", "label"], lines)
    return CsvSource(str(folder / "train.csv"), str(folder / "test.csv"))


def test_integers_beside_empty_cells_are_the_integers_they_were(rows, tmp_path):
    """pandas writes a column of integers as floats where one is missing."""
    source = whole_csv(tmp_path, rows, ["0.0", "1.0", "10.0", "2.00", "", "1.0"], ["1", "2", "0", "10"])
    manifest = prepare(source, 16, tmp_path / "out")
    assert manifest.class_names == (("0", "1", "2", "10"),)
    assert (manifest.n_labeled, manifest.class_counts) == (5, ((1, 2, 1, 1),))
    assert {raw.labels[0] for raw in iterate(source, "test")} == {"0", "1", "2", "10"}
    turned = whole_csv(tmp_path, rows, ["0", "1", "2", "3", "4", "5"], ["1.0", "2.0", "5.", "03"])
    assert [raw.labels[0] for raw in iterate(turned, "test")] == ["1", "2", "5", "3"]
    turned = whole_csv(tmp_path, rows, ["0", "1", "2", "3", "4", "5"], ["1.0", "2.0", "5.0", "3.0"])
    assert [raw.labels[0] for raw in iterate(turned, "test")] == ["1", "2", "5", "3"]


def test_such_a_table_is_the_parquet_file_of_the_same_rows(rows, tmp_path):
    """Also in one table, with groups."""
    labels = [None if i % 5 == 0 else i % 4 for i in range(20)]
    groups = [None if i == 3 else i // 2 for i in range(20)]
    lines = []
    for i in range(20):
        (tmp_path / f"{i}.png").write_bytes(rows[i][0])
        lines.append([f"{i}.png", *("" if x is None else f"{float(x)}" for x in (labels[i], groups[i]))])
    table = write_csv(tmp_path / "x.csv", ["path", "label", "site"], lines)
    csv = CsvSource(table, group="site", test_fraction=0.3)
    images = [data for data, _, _ in rows[:20]]
    pq.write_table(pa.table({"image": images, "label": labels, "site": groups}), tmp_path / "x.parquet")
    parquet = ParquetSource(str(tmp_path / "x.parquet"), group="site", test_fraction=0.3)
    assert prepare(csv, 16, tmp_path / "a") == prepare(parquet, 16, tmp_path / "b")


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (["1.0", "2.0", "x"], ["1.0", "2.0"]),
        (["1.0", "2.0"], ["1.0", "2.0", "1.5"]),
        (["v1.0", "v2.0"], ["v1.0"]),
    ],
)
def test_labels_that_are_not_all_whole_numbers_stay_as_they_are(rows, tmp_path, train, test):
    source = whole_csv(tmp_path, rows, train, test)
    assert [raw.labels[0] for raw in iterate(source, "train")] == train
    assert [raw.labels[0] for raw in iterate(source, "test")] == test


def test_whole_numbers_of_cls_files(rows, tmp_path):
    def shard(name: str, labels: list[bytes], kind: str = "cls") -> str:
        images = [(f"{i}.png", rows[i + 10 * (name == "test")][0]) for i in range(len(labels))]
        return write_tar(
            tmp_path / f"{name}.tar", images + [(f"{i}.{kind}", x) for i, x in enumerate(labels)]
        )

    source = WebDatasetSource(shard("train", [b"1.0", b"", b"2.0\n", b"0.0"]), shard("test", [b"1", b"2"]))
    assert prepare(source, 16, tmp_path / "out").class_names == (("0", "1", "2"),)
    assert inspect(source).n_labeled == 3
    source = WebDatasetSource(shard("train", [b"1.0", b"a"]), shard("test", [b"1.0", b"2.0"]))
    assert [raw.labels[0] for raw in iterate(source, "test")] == ["1.0", "2.0"]
    texts = shard("train", [b'{"label": "1.0"}'], "json")
    assert next(iterate(WebDatasetSource(texts), "train")).labels == ("1",), "a text in a typed file"


def test_splits_without_a_class_in_common_are_refused(rows, tmp_path):
    source = whole_csv(tmp_path, rows, ["class 1", "class 2", "class 1", ""], ["1", "2"])
    said = r"test\.csv: no class of the test images has a training image: 'label' is '1', '2' in test and "
    with pytest.raises(DataError, match=said + r"'class 1', 'class 2' in train; spell both the same way"):
        prepare(source, 16, tmp_path / "out")
    few = whole_csv(tmp_path, rows, ["a", "b", ""], ["b", "c"])  # one in common is a matter for the check
    assert prepare(few, 16, tmp_path / "out").n_test == 2
    none = whole_csv(tmp_path, rows, ["", "", ""], ["b", "c"])  # only pretrained on
    assert prepare(none, 16, tmp_path / "out").n_labeled == 0


def test_every_format_of_the_same_images_is_the_same_dataset(rows, parquet, folder, tmp_path):
    two = [
        ParquetSource(parquet(rows), levels=LEVELS, test_fraction=0.25),
        CsvSource(csv_of(rows, tmp_path), levels=LEVELS, test_fraction=0.25),
        CsvSource(csv_of(rows, tmp_path, ";"), levels=LEVELS, test_fraction=0.25),
        NpzSource(npz_of(rows, tmp_path / "x.npz"), levels=LEVELS, test_fraction=0.25),
        WebDatasetSource(shards_of(rows, tmp_path), levels=LEVELS, test_fraction=0.25),
    ]
    assert len({prepare(source, 16, tmp_path / "out").fingerprint for source in two}) == 1
    one = [
        FolderSource(folder(rows), test_fraction=0.25),
        CsvSource(csv_of(rows, tmp_path), test_fraction=0.25),
        WebDatasetSource(shards_of(rows, tmp_path), test_fraction=0.25),
    ]
    assert len({prepare(source, 16, tmp_path / "out").fingerprint for source in one}) == 1
    for source in two:
        info = inspect(source)
        assert (info.n_train, info.n_test, info.n_labeled) == (30, 10, 30)


def test_csv_splits_groups_and_labels(rows, tmp_path):
    lines = []
    for i, (data, fine, _) in enumerate(rows):
        path = tmp_path / "sub" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        side = "test" if i % 4 == 0 else "train"
        fine = "cat" if i == 0 else fine  # a class that is trained on too
        where = str(path) if i % 2 else f"sub/{i}.png"  # absolute, and from the table's folder
        lines.append([side, "" if i % 4 == 1 else fine, f" p{i % 5} ", where])
    header = ["split", "kind", "patient", "file"]
    source = CsvSource(
        write_csv(tmp_path / "x.csv", header, lines),
        path="file",
        levels=("kind",),
        group="patient",
        split="split",
    )
    info = inspect(source)
    assert (info.n_train, info.n_test, info.n_labeled) == (30, 10, 20)
    train, test = list(iterate(source, "train")), list(iterate(source, "test"))
    assert train[0].labels == (None,) and train[0].group == "p1"
    assert test[1].labels == (rows[4][1],)
    assert np.array_equal(train[1].decode(), decode_rgb(rows[2][0], "x"))
    manifest = prepare(source, 16, tmp_path / "out")
    assert (manifest.n_train, manifest.n_test, manifest.n_labeled) == (30, 10, 20)
    before = info.signature
    os.utime(tmp_path / "sub" / "7.png", ns=(1, 1))
    assert inspect(source).signature != before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"path": "pth"}, r"no column 'pth' \(did you mean 'path'\?\)"),
        ({"levels": ("lable",)}, "did you mean 'label'"),
        ({"levels": ()}, "levels is empty"),
        ({"group": "scene"}, "no column 'scene'"),
        ({"split": "label"}, r"is in the split 'ant'; write train or test"),
        ({"split": "label", "test": "x.csv"}, "split and test are both given"),
        ({"split": "label", "test_fraction": 0.5}, "split and test_fraction are both given"),
        ({"test": "gone.csv"}, "gone.csv: cannot be read"),
    ],
)
def test_wrong_csv_settings(rows, tmp_path, fields, message):
    with pytest.raises(DataError, match=message):
        inspect(CsvSource(csv_of(rows[:4], tmp_path), **fields))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the table is empty"),
        ("path,label\n", "no rows"),
        ("path,label\na.png,b,c\n", "row 2: 3 cells under 2 column names"),
        ('path,label\n"a.png,b\n', "not a readable CSV file"),
    ],
)
def test_damaged_csv(tmp_path, text, message):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        inspect(CsvSource(str(tmp_path / "x.csv")))


def test_a_file_that_the_csv_names_and_is_not_there(rows, tmp_path):
    source = CsvSource(csv_of(rows, tmp_path))
    (tmp_path / "3.png").unlink()
    assert inspect(source).n_train == 40  # counted; whether it can be read shows when it is
    with pytest.raises(DataError, match=r"3\.png: cannot be read"):
        prepare(source, 16, tmp_path / "out")
    skipping = CsvSource(source.train, on_bad_image="skip")
    assert prepare(skipping, 16, tmp_path / "out").n_train == 39


def test_npz_of_gray_images_integers_and_missing_labels(tmp_path):
    gray = np.arange(4 * 6 * 5, dtype=np.uint8).reshape(4, 6, 5)
    np.savez(tmp_path / "x.npz", images=gray, labels=np.array([3, -1, 0, 3]), patient=np.array([1, 1, 2, 2]))
    source = NpzSource(str(tmp_path / "x.npz"), group="patient")
    info = inspect(source)
    assert (info.n_train, info.n_labeled) == (4, 3)
    read = list(iterate(source, "train"))
    assert [raw.labels for raw in read] == [("3",), (None,), ("0",), ("3",)]
    assert [raw.group for raw in read] == ["1", "1", "2", "2"]
    assert np.array_equal(read[2].decode(), np.repeat(gray[2][:, :, None], 3, axis=2))
    np.savez(tmp_path / "y.npz", images=np.repeat(gray[:, :, :, None], 4, axis=3))
    assert inspect(NpzSource(str(tmp_path / "y.npz"))).n_labeled == 0
    assert next(iterate(NpzSource(str(tmp_path / "y.npz")), "train")).decode().shape == (6, 5, 3)


def test_wrong_npz(tmp_path):
    path = tmp_path / "x.npz"
    images = np.zeros((3, 4, 4, 3), np.uint8)
    wrong: list[tuple[dict[str, np.ndarray], str]] = [
        ({"image": images}, r"no array 'images' \(did you mean 'image'\?\)"),
        ({"images": images / 2}, "is float64 of shape"),
        ({"images": images[0]}, None),  # (4, 4, 3) are four gray images of 4 x 3
        ({"images": np.zeros((3, 4, 4, 2), np.uint8)}, r"images are uint8 \(N, H, W\)"),
        ({"images": images[:0]}, "has no pixels; give at least one image"),
        ({"images": np.asfortranarray(np.ones((3, 4, 4, 3), np.uint8))}, "Fortran order"),
        ({"images": images, "labels": np.array([1, 2])}, "expected 3 integers or texts"),
        ({"images": images, "labels": np.array([1.0, 2.5, 3])}, "2.5 is not a label"),
        ({"images": images, "labels": np.array(3)}, "expected 3 integers or texts"),
        ({"images": images, "labels": np.zeros((3, 2), int)}, "has 2 label levels but levels names 1"),
        ({"images": images, "labels": np.array([{}, {}, {}], object)}, "allow_pickle.*save its astype"),
        ({"images": images, "labels": np.array([b"a", b"b", b"c"])}, r"is bytes \(\|S1\); save its astype"),
        ({"images": np.array([{}], object)}, "is object of shape"),
    ]
    for arrays, message in wrong:
        np.savez(path, **arrays)
        if message is None:
            assert inspect(NpzSource(str(path))).n_train == 4
            continue
        with pytest.raises(DataError, match=message):
            inspect(NpzSource(str(path)))
    path.write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"x\.npz: not a readable \.npz file"):
        inspect(NpzSource(str(path)))
    with pytest.raises(DataError, match="no such file"):
        inspect(NpzSource(str(tmp_path / "gone.npz")))


@pytest.mark.parametrize(
    ("labels", "read"),
    [
        (pa.array(np.array([1, 2, np.nan], np.float16)), ["1", "2", None]),
        (pa.nulls(3), [None, None, None]),
        (pa.array(["a", None, "b"], pa.string_view()), ["a", None, "b"]),
        (pa.array(["a", None, "b"]).dictionary_encode(), ["a", None, "b"]),
    ],
)
def test_types_of_parquet_labels(rows, tmp_path, labels, read):
    images = pa.array([row[0] for row in rows[:3]])
    pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / "x.parquet")
    source = ParquetSource(str(tmp_path / "x.parquet"))
    assert inspect(source).n_labeled == sum(label is not None for label in read)
    assert [raw.labels[0] for raw in iterate(source, "train")] == read


@pytest.mark.parametrize("twice", ["image", "label"])
def test_parquet_columns_of_one_name_are_refused(rows, tmp_path, twice):
    columns = {"image": pa.array([rows[0][0]]), "label": pa.array(["a"])}
    table = pa.table([*columns.values(), columns[twice]], [*columns, twice])
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(DataError, match=f"2 columns are named '{twice}'; rename all but one"):
        inspect(ParquetSource(str(tmp_path / "x.parquet")))


def test_a_header_that_claims_more_than_there_is(tmp_path):
    def write(**arrays: tuple[str, tuple[int, ...]]) -> NpzSource:
        with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
            for name, (dtype, shape) in arrays.items():
                with file.open(f"{name}.npy", "w") as stream:
                    header = {"descr": dtype, "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(stream, header)
                    stream.write(bytes(128))
        return NpzSource(str(tmp_path / "x.npz"))

    with pytest.raises(DataError, match="array 'images' is cut short"):
        inspect(write(images=("|u1", (10**12, 8, 8))))
    with pytest.raises(DataError, match="array 'labels' cannot be read"):
        inspect(write(images=("|u1", (2, 8, 8)), labels=("<i8", (10**14,))))


def test_nothing_in_an_npz_is_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "unpickled"),)

    np.savez(tmp_path / "x.npz", images=np.array([Bomb()]), labels=np.array([Bomb()]))
    np.savez(tmp_path / "y.npz", images=np.zeros((1, 4, 4), np.uint8), labels=np.array([Bomb()]))
    (tmp_path / "z.npz").write_bytes(pickle.dumps(Bomb()))
    for name in "xyz":
        with pytest.raises(DataError):
            inspect(NpzSource(str(tmp_path / f"{name}.npz")))
    assert not (tmp_path / "unpickled").exists()


def test_a_cut_npz_is_named(rows, tmp_path):
    path = tmp_path / "x.npz"
    noise = np.random.default_rng(0).integers(0, 256, (2000, 8, 8), dtype=np.uint8)
    for save, place in ((np.savez, 100_000), (np.savez_compressed, 100_000), (np.savez, 1000)):
        save(path, images=noise)
        data = bytearray(path.read_bytes())
        data[place] ^= 255
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"x\.npz: .*damaged"):
            prepare(NpzSource(str(path)), 8, tmp_path / "out")


def test_webdataset_labels_come_from_cls_json_or_nowhere(rows, tmp_path):
    files = [
        ("a.png", rows[0][0]),
        ("a.cls", b"7\n"),
        ("b.PNG", rows[1][0]),
        ("c.json", b'{"label": 3, "patient": "x"}'),
        ("c.seg.png", rows[2][0]),
        ("d.png", rows[3][0]),
        ("d.json", b'{"label": null}'),
        ("notes.txt", b"no image"),
    ]
    where = write_tar(tmp_path / "x.tar", files)
    source = WebDatasetSource(where, group="patient")
    info = inspect(source)
    assert (info.n_train, info.n_labeled) == (4, 2)
    read = list(iterate(source, "train"))
    assert [raw.labels for raw in read] == [("7",), (None,), ("3",), (None,)]
    assert [raw.group for raw in read] == [None, None, "x", None]
    assert np.array_equal(read[2].decode(), decode_rgb(rows[2][0], "x"))
    assert read[2].name == f"{where}, c.seg.png"
    for pattern in (str(tmp_path), str(tmp_path / "*.tar"), str(tmp_path / "{x,x}.tar")):  # twice
        assert inspect(WebDatasetSource(pattern)).n_train == (8 if "{" in pattern else 4)


def test_npz_labels_by_name_floats_and_empty_texts(tmp_path):
    path = str(tmp_path / "x.npz")
    images = np.zeros((3, 4, 4), np.uint8)
    np.savez(path, images=images, label=np.array([2.0, np.nan, 0]), where=np.array(["a", "", "a"]))
    read = list(iterate(NpzSource(path, label="label", group="where"), "train"))
    assert [raw.labels for raw in read] == [("2",), (None,), ("0",)]
    assert [raw.group for raw in read] == ["a", None, "a"]
    with pytest.raises(
        DataError, match=r"no array 'labels' \(did you mean 'label'\?\); it has images, label"
    ):
        inspect(NpzSource(path, group="where"))
    with pytest.raises(DataError, match=r"no array 'labelz' \(did you mean 'label'\?\)"):
        inspect(NpzSource(path, label="labelz"))


def test_a_damaged_zip_header_is_named(tmp_path):
    np.savez(tmp_path / "x.npz", images=np.zeros((3, 4, 4), np.uint8))
    data = bytearray((tmp_path / "x.npz").read_bytes())
    data[:4] = b"XXXX"
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(DataError, match=r"x\.npz: array 'images' is damaged"):
        inspect(NpzSource(str(tmp_path / "x.npz")))


def test_webdataset_files_of_a_sample_may_be_apart(rows, tmp_path):
    files = [(f"{i}.png", rows[i][0]) for i in range(4)] + [(f"{i}.cls", b"%d" % i) for i in range(4)]
    files += [(f"._{i}.png", b"\0\5\x16\7") for i in range(4)]
    files += [("4.png", rows[4][0]), ("4.json", b'{"label": "", "site": ""}')]
    files += [("5.png", rows[5][0]), ("5.json", b'{"label": 3.0, "site": NaN}')]
    read = list(iterate(WebDatasetSource(write_tar(tmp_path / "x.tar", files), group="site"), "train"))
    assert [raw.labels[0] for raw in read] == ["0", "1", "2", "3", None, "3"]
    assert {raw.group for raw in read} == {None}
    assert np.array_equal(read[2].decode(), decode_rgb(rows[2][0], "x"))


@pytest.mark.parametrize("name", ["../a.png", "/etc/a.png", "x/../../a.png"])
def test_tar_members_that_point_outside_are_refused(rows, tmp_path, name):
    where = write_tar(tmp_path / "x.tar", [("ok.png", rows[0][0]), (name, rows[1][0])])
    with pytest.raises(DataError, match="points outside the shard"):
        inspect(WebDatasetSource(where))
    assert sorted(os.listdir(tmp_path)) == ["x.tar"]


def test_tar_links_are_refused(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(DataError, match=r"'a\.png' is a link or a device"):
        inspect(WebDatasetSource(str(tmp_path / "x.tar")))


def test_half_a_character_in_a_label_is_spelt_out(rows, tmp_path):
    files = [(f"{i}.png", row[0]) for i, row in enumerate(rows[:4])]
    files += [(f"{i}.json", b'{"label": "\\ud83d%d"}' % (i % 2)) for i in range(4)]
    source = WebDatasetSource(write_tar(tmp_path / "x.tar", files))
    prepare(source, 16, tmp_path / "out")
    assert [raw.labels[0] for raw in iterate(source, "train")] == ["\\ud83d0", "\\ud83d1"] * 2


def test_members_of_one_folder_whatever_its_spelling(rows, tmp_path):
    files = [("./a/0.png", rows[0][0]), ("a/0.cls", b"x"), ("1.png", rows[1][0]), ("./1.cls", b"y")]
    source = WebDatasetSource(write_tar(tmp_path / "x.tar", files))
    assert [raw.labels for raw in iterate(source, "train")] == [("x",), ("y",)]


def test_wrong_shards(rows, tmp_path):
    def problem(files: list[tuple[str, bytes]], **fields: tuple[str, ...]) -> str:
        with pytest.raises(DataError) as error:
            inspect(WebDatasetSource(write_tar(tmp_path / "x.tar", files), **fields))
        return str(error.value)

    image = ("a.png", rows[0][0])
    assert "no images in 1 shards" in problem([("a.txt", b"x")])
    assert "its .json cannot be read" in problem([image, ("a.json", b"{")])
    assert "is not an object; write one with label" in problem([image, ("a.json", b"[1]")])
    assert "1.5 is not a label" in problem([image, ("a.json", b'{"label": 1.5}')])
    assert "a .cls file has one label" in problem([image, ("a.cls", b"1")], levels=LEVELS)
    two = problem([("img.1.png", b"x"), ("img.2.png", b"y")])
    assert "'img.1.png' and 'img.2.png' belong to one sample" in two and "first dot" in two
    assert "'a.png' is in the shard twice; write the shard again" in problem([image, image])
    assert "'a.cls' is in the shard twice" in problem([image, ("a.cls", b"1"), ("a.cls", b"2")])
    assert "its .cls is UTF-16; save it as UTF-8" in problem([image, ("a.cls", "cat".encode("utf-16"))])
    deep = b'{"label": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert "its .json cannot be read" in problem([image, ("a.json", deep)])
    assert "no images in 1 shards, but 1 '.tar' files, such as" in problem([("inner.tar", b"x")])
    assert "'b.cls' is a label without an image" in problem([image, ("b.cls", b"1"), ("b.svg", b"x")])
    (tmp_path / "x.tar").write_bytes(b"no tar at all")
    with pytest.raises(DataError, match=r"x\.tar: not a readable, uncompressed tar"):
        inspect(WebDatasetSource(str(tmp_path / "x.tar")))
    with pytest.raises(DataError, match=r"y-001\.tar: no such file or folder"):
        inspect(WebDatasetSource(str(tmp_path / "y-{001..003}.tar")))


@pytest.mark.parametrize("kept", [40, 512, 700, 1536, 1600, 2048, 2100])
def test_a_cut_shard_is_named(rows, tmp_path, kept):
    where = write_tar(tmp_path / "x.tar", [("a.png", rows[0][0]), ("b.png", rows[1][0])])
    data = Path(where).read_bytes()
    Path(where).write_bytes(data[:kept])
    with pytest.raises(DataError, match=r"x\.tar: (the shard is cut short|not a readable)"):
        inspect(WebDatasetSource(where))
