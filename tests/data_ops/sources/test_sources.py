"""Sizes, signatures and reading of every source, and what each says to bad input."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import bomb
from PIL import Image

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.sources.decode import decode_rgb, resize
from ssl_sweep.data_ops.sources.registry import (
    DigitsSource,
    FolderSource,
    ParquetSource,
    SyntheticSource,
    inspect,
    iterate,
)


def encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def test_parquet_is_read_in_order_and_counted_without_decoding(rows, parquet, tmp_path):
    one = parquet([(b"never decoded", "a", "b")] * 3, "broken.parquet")
    assert inspect(ParquetSource(one)).n_train == 3
    source = ParquetSource(parquet(rows, "good.parquet"), levels=("label", "group"))
    read = list(iterate(source, "train"))
    assert [raw.labels for raw in read] == [(fine, coarse) for _, fine, coarse in rows]
    assert np.array_equal(read[17].decode(), decode_rgb(rows[17][0], "x"))
    assert list(iterate(source, "test")) == []


@pytest.mark.parametrize("where", ["", "*.parquet"])
def test_parquet_folder_and_glob_take_all_files_in_name_order(rows, parquet, tmp_path, where):
    parquet(rows[25:], "train-1.parquet")
    parquet(rows[:25], "train-0.parquet")
    source = ParquetSource(str(tmp_path / where))
    assert inspect(source).n_train == 40
    assert [raw.labels[0] for raw in iterate(source, "train")] == [fine for _, fine, _ in rows]


def test_plain_bytes_and_integer_labels(rows, tmp_path):
    table = pa.table({"png": [data for data, _, _ in rows], "y": pa.array(range(40), pa.int32())})
    pq.write_table(table, tmp_path / "x.parquet")
    read = list(iterate(ParquetSource(str(tmp_path / "x.parquet"), image="png", levels=("y",)), "train"))
    assert read[11].labels == ("11",)
    assert read[11].decode().shape == (20, 20, 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image": "imge"}, r"no column 'imge' \(did you mean 'image'\?\)"),
        ({"levels": ("labels",)}, "did you mean 'label'"),
        ({"image": "label"}, "column 'label' is string; images are"),
        ({"levels": ("image",)}, "labels are integers or strings"),
        ({"levels": ()}, "levels is empty"),
        ({"test_fraction": 1.5}, "between 0 and 1"),
        ({"test_fraction": 0.5, "test": "x.parquet"}, "both given"),
        ({"test": "gone.parquet"}, "gone.parquet: no such file or folder"),
    ],
)
def test_wrong_parquet_settings(rows, parquet, fields, message):
    with pytest.raises(DataError, match=message):
        inspect(ParquetSource(parquet(rows), **fields))


def test_parquet_without_rows_files_or_sense(parquet, tmp_path):
    with pytest.raises(DataError, match="no rows"):
        table = pa.table({"image": pa.array([], pa.binary()), "label": pa.array([], pa.int32())})
        pq.write_table(table, tmp_path / "empty.parquet")
        inspect(ParquetSource(str(tmp_path / "empty.parquet")))
    (tmp_path / "text.parquet").write_text("not parquet")
    with pytest.raises(DataError, match=r"text\.parquet: not a readable Parquet file"):
        inspect(ParquetSource(str(tmp_path / "text.parquet")))
    with pytest.raises(DataError, match=r"no \.parquet files here"):
        inspect(ParquetSource(str(tmp_path / "*.pq")))


def test_a_null_is_no_label(rows, tmp_path):
    table = pa.table({"image": [data for data, _, _ in rows[:3]], "label": ["a", None, "b"]})
    pq.write_table(table, tmp_path / "x.parquet")
    source = ParquetSource(str(tmp_path / "x.parquet"))
    info = inspect(source)
    assert (info.n_train, info.n_labeled) == (3, 2)
    assert [raw.labels for raw in iterate(source, "train")] == [("a",), (None,), ("b",)]


def test_corrupt_image_names_file_row_and_path_field(rows, parquet):
    rows[7] = (rows[7][0][:60], "ant", "insect")
    path = parquet(rows)
    raw = list(iterate(ParquetSource(path), "train"))[7]
    with pytest.raises(
        DataError, match=r"images\.parquet, row 7 \(7\.png\): not a readable image .* replace"
    ):
        raw.decode()


def test_folder_lists_images_by_class_and_ignores_the_rest(rows, folder):
    root = Path(folder(rows))
    (root / "ant" / "notes.txt").write_text("x")
    (root / "ant" / ".hidden.png").write_bytes(b"x")
    (root / "ant" / "deeper").mkdir()
    (root / "ant" / "deeper" / "one.PNG").write_bytes(rows[0][0])
    (root / ".git").mkdir()
    source = FolderSource(str(root))
    assert inspect(source).n_train == 41
    labels = [raw.labels[0] for raw in iterate(source, "train")]
    assert labels == ["ant"] * 11 + ["bee"] * 10 + ["cat"] * 10 + ["dog"] * 10


@pytest.mark.parametrize("content", [b"hello, I am text", b"", "truncated"])
def test_bad_image_files_are_named(rows, folder, content):
    root = Path(folder(rows))
    good = encoded(Image.fromarray(np.arange(3000, dtype=np.uint8).reshape(25, 40, 3)), "JPEG")
    (root / "ant" / "bad.jpg").write_bytes(good[: len(good) // 2] if content == "truncated" else content)
    bad = [raw for raw in iterate(FolderSource(str(root)), "train") if raw.name.endswith("bad.jpg")]
    with pytest.raises(DataError, match=r"bad\.jpg: .*replace or remove it"):
        bad[0].decode()


def test_folder_errors(rows, folder, tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        inspect(FolderSource(str(tmp_path / "gone")))
    with pytest.raises(DataError, match="no class sub-folders"):
        inspect(FolderSource(str(tmp_path)))
    root = Path(folder(rows))
    (root / "empty").mkdir()
    with pytest.raises(DataError, match="empty: class folder without images"):
        inspect(FolderSource(str(root)))


def test_a_file_that_vanishes_is_named(rows, folder):
    root = Path(folder(rows))
    read = list(iterate(FolderSource(str(root)), "train"))
    os.unlink(read[0].name)
    with pytest.raises(DataError, match=r"0000\.png: cannot be read"):
        read[0].decode()


def test_odd_images_become_rgb():
    gray16 = Image.fromarray((np.arange(256, dtype=np.uint16) * 257).reshape(16, 16))
    assert decode_rgb(encoded(gray16, "PNG"), "x")[..., 1].ravel().tolist() == list(range(256))
    palette = Image.new("P", (4, 4))
    palette.info["transparency"] = b"\0\1"
    for image, kind in [
        (Image.new("L", (4, 4), 9), "PNG"),
        (Image.new("RGBA", (4, 4), (1, 2, 3, 0)), "PNG"),
        (Image.new("CMYK", (4, 4)), "JPEG"),
        (Image.new("1", (4, 4)), "PNG"),
        (palette, "PNG"),
        (Image.new("LA", (4, 4)), "PNG"),
    ]:
        assert decode_rgb(encoded(image, kind), "x").shape == (4, 4, 3)


def test_deep_and_float_tiffs():
    def tiff(values: np.ndarray) -> bytes:
        return encoded(Image.fromarray(values), "TIFF")

    ramp = np.arange(256).reshape(16, 16)
    for values, kind in ((ramp * 257, np.uint16), (ramp, np.uint8)):
        assert np.array_equal(decode_rgb(tiff(values.astype(kind)), "x")[..., 1], ramp)
    assert decode_rgb(tiff(ramp.astype(np.uint16)), "x").max() == 0  # 16 bits, and dark
    for values, message in (
        (ramp / 255, "floating-point values"),
        (ramp, "signed or 32-bit integers"),
        (ramp * 257, "signed or 32-bit integers"),
        (ramp * 1000, "signed or 32-bit integers"),
        (ramp - 9, "signed or 32-bit integers"),
    ):
        kind = np.float32 if values.dtype.kind == "f" else np.int32
        with pytest.raises(DataError, match=rf"x\.tif: {message}.*; save it with"):
            decode_rgb(tiff(values.astype(kind)), "x.tif")


def test_an_empty_text_is_no_label_and_whole_floats_are_integers(rows, tmp_path):
    images = [data for data, _, _ in rows[:4]]
    where = tmp_path / "x.parquet"
    for column, expected in (
        (["a", "", None, "b"], ["a", None, None, "b"]),
        ([1.0, None, float("nan"), 10.0], ["1", None, None, "10"]),
        (pa.array(["a", "", "b", "a"]).dictionary_encode(), ["a", None, "b", "a"]),
    ):
        pq.write_table(pa.table({"image": images, "label": column, "site": column}), where)
        source = ParquetSource(str(where), group="site")
        assert inspect(source).n_labeled == 4 - expected.count(None)
        read = list(iterate(source, "train"))
        assert [raw.labels[0] for raw in read] == [raw.group for raw in read] == expected
    pq.write_table(pa.table({"image": images, "label": [1.0, 2.5, 1, 1]}), where)
    with pytest.raises(DataError, match=r"column 'label': 2\.5 is not a label"):
        inspect(ParquetSource(str(where)))


def test_parquet_text_that_is_no_utf8_is_named(rows, tmp_path):
    where = str(tmp_path / "x.parquet")
    bad = pa.array([b"ok", b"\xff\xfe"]).view(pa.binary())
    text = pa.Array.from_buffers(pa.string(), 2, bad.buffers())
    images = [data for data, _, _ in rows[:2]]
    pq.write_table(pa.table({"image": images, "label": text}), where)
    with pytest.raises(DataError, match=r"x\.parquet, row 1: column 'label' holds text that is not UTF-8"):
        inspect(ParquetSource(where))
    struct = pa.StructArray.from_arrays([pa.array(images), text], ["bytes", "path"])
    pq.write_table(pa.table({"image": struct, "label": ["a", "b"]}), where)
    with pytest.raises(DataError, match=r"x\.parquet, row 1: column 'image' holds text that is not UTF-8"):
        list(iterate(ParquetSource(where), "train"))


def test_levels_that_are_named_twice_and_too_few_labels(rows, parquet):
    with pytest.raises(DataError, match="levels names 'label' twice"):
        inspect(ParquetSource(parquet(rows), levels=("label", "label")))
    with pytest.raises(DataError, match=r"two images with labels; .*images\.parquet has 1"):
        inspect(ParquetSource(parquet(rows[:1]), test_fraction=0.5))


def test_decompression_bomb_is_refused():
    with pytest.raises(DataError, match=r"bomb\.png: .*decompression bomb"):
        decode_rgb(bomb(), "bomb.png")


def test_resize_keeps_the_centre_square_and_antialiases():
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, 30:70] = 200  # the centre square
    # As after resizing the whole, the outermost pixels see a little of what is cut off.
    assert (resize(wide, 20)[:, 1:-1] == 200).all()
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.ptp(resize(stripes, 16)[:, 2:-2]) <= 2  # aliasing would give stripes again
    assert np.array_equal(resize(stripes, 64), stripes)


def test_digits_are_real_and_gray():
    info = inspect(DigitsSource(test_fraction=0.3))
    assert (info.n_train, info.n_test) == (1258, 539)
    read = list(iterate(DigitsSource(), "train"))
    assert len(read) == 1797
    assert read[0].labels == ("0", "even")
    assert read[0].decode().max() > 230


def test_signature_follows_fields_and_files(rows, parquet):
    path = parquet(rows)
    before = inspect(ParquetSource(path)).signature
    assert inspect(ParquetSource(path)).signature == before
    assert inspect(ParquetSource(path, test_fraction=0.2)).signature != before
    os.utime(path, ns=(1, 1))
    assert inspect(ParquetSource(path)).signature != before
    synthetic = {inspect(SyntheticSource("objects", 10, 5, seed)).signature for seed in (0, 1)}
    assert len(synthetic) == 2


def test_unknown_domain_has_a_suggestion():
    with pytest.raises(DataError, match=r"no synthetic domain 'scences' \(did you mean 'scenes'\?\)"):
        inspect(SyntheticSource("scences"))
    with pytest.raises(DataError, match="train is 0"):
        inspect(SyntheticSource("scenes", train=0))
