"""Anything but good images in a folder is named in an error, or skipped if the source says so."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from image_files import bomb
from PIL import Image

from ssl_sweep.data_ops.dataset.prepared import PreparedDataset
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.preparation.prepare import prepare
from ssl_sweep.data_ops.preparation.scan import scan
from ssl_sweep.data_ops.sources.decode import decode_rgb
from ssl_sweep.data_ops.sources.registry import CsvSource, FolderSource, ParquetSource, inspect, iterate


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_odd_images_of_a_folder_are_read(rows, folder, tmp_path):
    root = Path(folder(rows[:4]))
    frames = [Image.new("RGB", (9, 9), (200, 0, 0)), Image.new("RGB", (9, 9), (0, 200, 0))]
    animated = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    odd = {
        "animated.gif": animated,
        "animated.webp": encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True),
        "cmyk.jpg": encoded(Image.new("CMYK", (9, 9), (0, 0, 0, 128)), "JPEG"),
        "gray.jpg": encoded(Image.new("L", (9, 9), 70), "JPEG"),
        "deep.png": encoded(Image.fromarray(np.full((9, 9), 40000, np.uint16)), "PNG"),
        "alpha.png": encoded(Image.new("RGBA", (9, 9), (1, 2, 3, 0)), "PNG"),
    }
    for name, data in odd.items():
        (root / "ant" / name).write_bytes(data)
    manifest = prepare(FolderSource(str(root)), 8, tmp_path / "a")
    assert manifest.n_train == 10 and not manifest.skipped
    for name in ("animated.gif", "animated.webp"):  # the first frame
        assert decode_rgb(odd[name], "x")[4, 4].tolist() == [200, 0, 0]
    assert decode_rgb(odd["deep.png"], "x")[4, 4].tolist() == [40000 >> 8] * 3


@pytest.mark.parametrize("most", [200, 300, 60000, 1 << 20])
def test_integers_of_32_bits_are_refused_whatever_they_hold(most):
    """Decided image by image, a dark one would come out 256 times as bright as its neighbour."""
    values = np.linspace(0, most, 81).reshape(9, 9).astype(np.int32)
    with pytest.raises(DataError, match=r"x: .*whose white is not defined; save it with 8 or 16 bits"):
        decode_rgb(encoded(Image.fromarray(values), "TIFF"), "x")


def test_gray_of_more_than_8_bits_is_scaled_by_what_its_file_says():
    deep = np.array([[0, 100, 32767, 65535]], np.uint16)
    for kind in ("PNG", "TIFF"):
        assert decode_rgb(encoded(Image.fromarray(deep), kind), "x")[0, :, 0].tolist() == [0, 0, 127, 255]
    for white in (65535, 1023):  # a PGM says its white; Pillow opens it as 32 bits
        values = np.array([0, white // 2, white], ">u2")
        pgm = b"P5 3 1 %d\n" % white + values.tobytes()
        assert decode_rgb(pgm, "x")[0, :, 0].tolist() == [0, 127, 255]
    entries = [(256, 2), (257, 1), (258, 12), (259, 1), (262, 1), (273, 122), (277, 1), (278, 1), (279, 3)]
    fields = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in entries)
    tiff = b"II*\0" + struct.pack("<IH", 8, len(entries)) + fields + bytes(4) + bytes([0xFF, 0xF8, 0x00])
    assert decode_rgb(tiff, "x")[0, :, 0].tolist() == [255, 128], "12 bits that a TIFF says it has"


def test_bad_images_of_a_folder_are_named_one_by_one_and_skipped_together(rows, folder, tmp_path):
    root = Path(folder(rows[:8]))
    jpeg = encoded(Image.fromarray(np.arange(3000, dtype=np.uint8).reshape(25, 40, 3)), "JPEG")
    bad = {
        "cut.jpg": (jpeg[: len(jpeg) // 2], "not a readable image"),
        "empty.jpg": (b"", "empty image"),
        "text.jpg": (b"hello", "not a readable image"),
        "bomb.png": (bomb(), "decompression bomb"),
    }
    for name, (data, message) in bad.items():
        path = root / "bee" / name
        path.write_bytes(data)
        with pytest.raises(DataError, match=f"{name}: .*{message}"):
            prepare(FolderSource(str(root)), 8, tmp_path / "a")
        path.unlink()
    for name, (data, _) in bad.items():
        (root / "bee" / name).write_bytes(data)
    manifest = prepare(FolderSource(str(root), on_bad_image="skip"), 8, tmp_path / "a")
    assert (manifest.n_train, len(manifest.skipped)) == (8, 4)


def test_names_that_are_no_utf8(rows, tmp_path):
    root = os.fsencode(tmp_path / "images")
    for folder_name in (b"caf\xe9", b"plain"):
        os.makedirs(os.path.join(root, folder_name))
        for i in range(4):
            with open(os.path.join(root, folder_name, b"\xff%d.png" % i), "wb") as file:
                file.write(rows[i + 4 * (folder_name == b"plain")][0])
    source = FolderSource(os.fsdecode(root))
    assert inspect(source).n_train == 8
    manifest = prepare(source, 8, tmp_path / "a")
    assert manifest.class_names == (("caf\\xe9", "plain"),)
    with open(os.path.join(root, b"plain", b"bad\xfe.png"), "wb") as file:
        file.write(b"x")
    skipping = prepare(FolderSource(os.fsdecode(root), on_bad_image="skip"), 8, tmp_path / "a")
    assert skipping.skipped[0].startswith(f"{tmp_path}/images/plain/bad\\xfe.png: not a readable image")
    assert PreparedDataset(tmp_path / "a").manifest == skipping
    with pytest.raises(DataError, match=r"bad\\xfe\.png") as error:
        prepare(source, 8, tmp_path / "a")
    str(error.value).encode()  # can be printed

    with open(tmp_path / "x.csv", "wb") as table:
        table.write(b"path,label\nimages/caf\xe9/\xff0.png,caf\xe9\nimages/plain/\xff0.png,plain\n")
    read = list(iterate(CsvSource(str(tmp_path / "x.csv")), "train"))
    assert [raw.labels for raw in read] == [("caf\\xe9",), ("plain",)]
    assert read[0].decode().shape == (20, 20, 3)


def test_a_path_that_vanishes_midway(rows, folder, tmp_path):
    root = Path(folder(rows))

    def read_and_remove(source: FolderSource) -> list[str]:
        images = list(iterate(source, "train"))
        (root / "dog" / "0003.png").unlink()
        wrong = []
        for raw in images:
            try:
                raw.decode()
            except DataError as error:
                wrong.append(str(error))
        return wrong

    (said,) = read_and_remove(FolderSource(str(root)))
    assert "dog/0003.png: cannot be read (No such file or directory)" in said


def test_a_source_that_shrinks_while_it_is_prepared(rows, parquet, tmp_path, monkeypatch):
    where = parquet(rows)
    from ssl_sweep.data_ops.preparation import prepare as module

    listed = module.open_source

    def after_a_loss(source):
        opened = listed(source)
        parquet(rows[:39])
        return opened

    monkeypatch.setattr(module, "open_source", after_a_loss)
    with pytest.raises(
        DataError, match="39 images were read but 40 were listed, so the source changed meanwhile; try again"
    ):
        prepare(ParquetSource(where), 8, tmp_path / "a")


def test_a_broken_link_is_a_bad_image(rows, folder, tmp_path):
    root = Path(folder(rows))
    (root / "cat" / "gone.png").symlink_to("/nowhere/x.png")
    (root / "cat" / "folder.png").symlink_to(tmp_path / "elsewhere")  # a folder, whatever its name
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "more.png").write_bytes(rows[0][0])
    with pytest.raises(DataError, match=r"gone\.png: cannot be read \(No such file"):
        prepare(FolderSource(str(root)), 8, tmp_path / "a")
    manifest = prepare(FolderSource(str(root), on_bad_image="skip"), 8, tmp_path / "a")
    assert (manifest.n_train, len(manifest.skipped)) == (41, 1)
    (bad,) = scan(FolderSource(str(root)))[0].bad
    assert bad.name.endswith("gone.png")


def test_an_unreadable_file(rows, folder, tmp_path, monkeypatch):
    root = Path(folder(rows))
    locked = root / "cat" / "0002.png"
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:  # root may read what chmod forbids
        if path == locked:
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"0002\.png: cannot be read \(Permission denied\); fix its"):
        prepare(FolderSource(str(root)), 8, tmp_path / "a")
    assert prepare(FolderSource(str(root), on_bad_image="skip"), 8, tmp_path / "a").n_train == 39


def test_classes_that_differ_by_case_and_empty_ones(rows, folder, tmp_path):
    root = Path(folder(rows))
    (root / "Ant").mkdir()
    (root / "Ant" / "x.png").write_bytes(rows[0][0])
    with pytest.raises(DataError, match="label: classes 'Ant' and 'ant' differ only by case"):
        prepare(FolderSource(str(root)), 8, tmp_path / "a")
    (root / "Ant" / "x.png").rename(root / "Ant" / "x.txt")
    with pytest.raises(DataError, match="Ant: class folder without images"):
        inspect(FolderSource(str(root)))
    (root / "Ant" / "x.txt").unlink()
    (root / "Ant").rmdir()
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="none: no images"):
        inspect(FolderSource(str(root), unlabelled=str(tmp_path / "none")))
    with pytest.raises(DataError, match="gone: no such folder"):
        inspect(FolderSource(str(root), unlabelled=str(tmp_path / "gone")))
