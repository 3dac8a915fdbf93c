"""Tables as programs write them: separators, encodings and paths are read, or named with what to do."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.sources.registry import CsvSource, inspect, iterate


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two images, in a folder whose name needs an encoding."""
    folder = tmp_path / "é"
    folder.mkdir()
    for i in range(2):
        (folder / f"{i}.ppm").write_bytes(b"P6 1 1 255\n" + bytes([i, i, i]))
    return tmp_path


def table(folder: Path, data: bytes) -> CsvSource:
    (folder / "t.csv").write_bytes(data)
    return CsvSource(str(folder / "t.csv"))


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("told", ["", "sep={mark}{end}"])
def test_separators_and_line_ends(images: Path, mark: str, end: str, told: str) -> None:
    lines = [f"path{mark}label", f"é/0.ppm{mark}a", f"é/1.ppm{mark}b", ""]
    source = table(images, (told.format(mark=mark, end=end) + end.join(lines)).encode())
    assert [raw.labels[0] for raw in iterate(source, "train")] == ["a", "b"]


def test_a_told_separator_wins_over_those_of_the_header(images: Path) -> None:
    source = table(images, "sep=:\npath:label:a,b\né/0.ppm:x,y:1\n".encode())
    assert [raw.labels[0] for raw in iterate(source, "train")] == ["x,y"]


def test_names_of_columns_in_any_unicode_form(images: Path) -> None:
    source = table(images, "path,e\u0301tat\u200b\né/0.ppm,a\né/1.ppm,b\n".encode())
    source = dataclasses.replace(source, levels=("\u00e9tat",))
    assert [raw.labels[0] for raw in iterate(source, "train")] == ["a", "b"]


def test_quoted_names_do_not_decide_the_separator(images: Path) -> None:
    source = table(images, 'path;"genus, species, author"\né/0.ppm;a\n ; \né/1.ppm;b\n'.encode())
    source = dataclasses.replace(source, levels=("genus, species, author",))
    assert [raw.labels[0] for raw in iterate(source, "train")] == ["a", "b"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_utf8_with_and_without_a_mark(images: Path, encoding: str) -> None:
    assert inspect(table(images, "path,label\né/0.ppm,a\n".encode(encoding))).n_train == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("path,label\né/0.ppm,a\n".encode("utf-16"), "the text is UTF-16; save the table as UTF-8"),
        ("path,label\né/0.ppm,a\n".encode("utf-16-le"), "the text is UTF-16"),
        ("path,label\né/0.ppm,a\n".encode("cp1252"), "is not UTF-8, perhaps cp1252; save it as UTF-8"),
        ("path,étiquette\né/0.ppm,a\n".encode("cp1252"), "the header is not UTF-8, perhaps cp1252"),
        (b"", "the table is empty; give one with a header"),
        (b"\xef\xbb\xbf \n\n", "the table is empty"),
        (b"sep=;\n", "the table is empty"),
        ("é/0.ppm,a\né/1.ppm,b\n".encode(), "the first line is é/0.ppm, a; it must be a header"),
        (b"path,label\na.ppm,a\nb\0.ppm,b\n", "t.csv, line 3: a NUL character"),
        (b"path,label\n" + b"a.ppm,a\n" * 99 + b"b\0.ppm,b\n", "t.csv, line 101: a NUL character"),
        (b"path,label\na.ppm,a\n ,b\n", "t.csv: the row of 'b' has no 'path'; give its image"),
        (b"path:label\na.ppm:b\n", "no column 'path'; it has path:label"),
        (
            b"path,label\nC:\\me\\0.png,a\n",
            "is a path of Windows, which does not exist here; write paths relative",
        ),
    ],
)
def test_what_cannot_be_read_is_named_with_what_to_do(images: Path, data: bytes, said: str) -> None:
    with pytest.raises(DataError) as error:
        inspect(table(images, data))
    assert said in str(error.value)


def test_a_table_of_one_split_only(images: Path) -> None:
    source = table(images, "path,label,split\né/0.ppm,08,train\né/1.ppm,9,train\n".encode())
    source = dataclasses.replace(source, split="split")
    assert (inspect(source).n_train, inspect(source).n_test) == (2, 0)
    assert [raw.labels for raw in iterate(source, "train")] == [("8",), ("9",)]
    assert list(iterate(source, "test")) == []


def test_relative_paths_of_windows_are_read(images: Path) -> None:
    source = table(images, "path,label\né\\0.ppm,a\n.\\é\\1.ppm,b\n".encode())
    assert [raw.decode()[0, 0, 0] for raw in iterate(source, "train")] == [0, 1]
    (images / "é\\0.ppm").write_bytes(b"P6 1 1 255\n" + bytes([9, 9, 9]))  # what exists is taken as it is
    assert next(iterate(source, "train")).decode()[0, 0, 0] == 9


def test_bytes_that_name_a_file_are_that_file(images: Path) -> None:
    with open(os.path.join(os.fsencode(images), b"\xff.ppm"), "wb") as file:
        file.write(b"P6 1 1 255\n" + bytes([7, 7, 7]))
    source = table(images, b"path,label\n\xff.ppm,a\n")
    assert next(iterate(source, "train")).decode()[0, 0, 0] == 7
