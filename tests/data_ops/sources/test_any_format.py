"""The same images and labels in any format are one dataset, and what goes in is in it or is counted."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_files import write_tar
from PIL import Image

from ssl_sweep.data_ops.dataset.prepared import DatasetManifest
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.preparation.prepare import prepare
from ssl_sweep.data_ops.preparation.scan import scan
from ssl_sweep.data_ops.sources.image_kinds import IMAGE_SUFFIXES, JUNK
from ssl_sweep.data_ops.sources.registry import (
    CsvSource,
    FolderSource,
    NpzSource,
    ParquetSource,
    Source,
    WebDatasetSource,
    inspect,
)

FILES_TRIED = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
DATASETS_TRIED = settings(FILES_TRIED, max_examples=12)  # each is prepared in several formats
BLANKS = " \t\u00a0\u2003\u3000\u200b\ufeff\u2060"
WORDS = st.sampled_from(
    [
        *(
            "cat",
            "Cat",
            "cafe\u0301",
            "caf\u00e9",
            "Maße",
            "Masse",
            "NA",
            "none",
            "nan",
            "null",
            "None",
            "-1",
            "0",
        ),
        *(
            "01",
            "1",
            "1.0",
            "1.",
            "+1",
            "-2",
            "1e3",
            "9" * 30,
            "a,b",
            'say "x"',
            "'",
            "#1",
            "=1+1",
            "%s",
            "{x}",
        ),
        *(
            "猫",
            "кот",
            "🐈",
            "ﬁsh",
            "İ",
            "\u0130i",
            "a b",
            "a\u00a0b",
            "a.b",
            "label",
            "train",
            "1_000",
            "0x1",
        ),
    ]
)
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs",), exclude_characters="\0\r"), max_size=8
)
LABEL = st.one_of(
    st.none(),
    st.builds(
        lambda a, word, b: a + word + b, st.sampled_from(["", *BLANKS]), WORDS, st.sampled_from(["", *BLANKS])
    ),
    TEXTS,
)
Rows = list[tuple[bytes, str | None]]


def picture(i: int) -> bytes:
    """The i-th of distinct PNGs of 2 x 2 pixels."""
    file = io.BytesIO()
    Image.frombytes("RGB", (2, 2), np.random.default_rng(i).bytes(12)).save(file, "PNG")
    return file.getvalue()


PICTURES = [picture(i) for i in range(16)]


def as_csv(rows: Rows, folder: Path) -> Source:
    with (folder / "t.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        for i, (data, label) in enumerate(rows):
            (folder / f"{i}.png").write_bytes(data)
            writer.writerow([f"{i}.png", label or ""])
    return CsvSource(str(folder / "t.csv"), similar_names="keep")


def as_parquet(rows: Rows, folder: Path) -> Source:
    images, labels = zip(*rows, strict=True)
    pq.write_table(pa.table({"image": images, "label": pa.array(labels, pa.string())}), folder / "t.parquet")
    return ParquetSource(str(folder / "t.parquet"), similar_names="keep")


def as_npz(rows: Rows, folder: Path) -> Source:
    images = np.stack([np.asarray(Image.open(io.BytesIO(data))) for data, _ in rows])
    np.savez(folder / "t.npz", images=images, labels=np.array([label or "" for _, label in rows], dtype=str))
    return NpzSource(str(folder / "t.npz"), similar_names="keep")


def as_json(rows: Rows, folder: Path) -> Source:
    files = [(f"{i}.png", data) for i, (data, _) in enumerate(rows)]
    files += [(f"{i}.json", json.dumps({"label": label}).encode()) for i, (_, label) in enumerate(rows)]
    return WebDatasetSource(write_tar(folder / "j.tar", files), similar_names="keep")


def as_cls(rows: Rows, folder: Path) -> Source:
    files = [(f"{i}.png", data) for i, (data, _) in enumerate(rows)]
    files += [(f"{i}.cls", label.encode()) for i, (_, label) in enumerate(rows) if label is not None]
    return WebDatasetSource(write_tar(folder / "c.tar", files), similar_names="keep")


FORMATS: list[Callable[[Rows, Path], Source]] = [as_csv, as_parquet, as_npz, as_json, as_cls]


def outcome(source: Source, out: Path) -> object:
    """The manifest of a source, or why it is refused, without the place."""
    try:
        manifest: DatasetManifest = prepare(source, 2, out)
    except DataError as error:
        return str(error).partition(": ")[2]
    return manifest.fingerprint, manifest.class_names, manifest.class_counts, manifest.n_labeled


@DATASETS_TRIED
@given(labels=st.lists(LABEL, min_size=1, max_size=12))
def test_every_format_is_one_dataset(labels: list[str | None]) -> None:
    rows = [(PICTURES[i], label) for i, label in enumerate(labels)]
    with tempfile.TemporaryDirectory() as where:
        found = []
        for write in FORMATS:
            folder = Path(where) / write.__name__
            folder.mkdir()
            found.append(outcome(write(rows, folder), folder / "out"))
        assert all(one == found[0] for one in found), found


NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=("Cs",)),
    min_size=1,
    max_size=12,
).filter(lambda name: name.strip(".") and len(name.encode()) < 200 and not name.startswith("."))


@DATASETS_TRIED
@given(names=st.lists(NAMES, min_size=2, max_size=6, unique=True))
def test_names_of_class_folders_are_labels_like_any_other(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as where:
        rows, top = [], Path(where) / "f"
        names = [name for name in names if name.lower() not in JUNK]
        for i, name in enumerate(names):
            (top / name).mkdir(parents=True)
            (top / name / "0.png").write_bytes(PICTURES[i])
            rows.append((PICTURES[i], name))
        if not rows:
            return
        folder = outcome(FolderSource(str(top), similar_names="keep"), Path(where) / "a")
        (Path(where) / "p").mkdir()
        assert folder == outcome(as_parquet(rows, Path(where) / "p"), Path(where) / "b")


SUFFIXES = st.sampled_from(
    [
        *sorted(IMAGE_SUFFIXES)[::6],
        *(".png", ".JPG", ".jpeg", ".jfif", ".avif", ".heic", "", ".txt", ".cls", ".json", ".xml", ".raw"),
        *(".dat", ".zip", ".pdf", ".svg", ".png.bak", ".v2.png", ".seg", "~", ".tar"),
    ]
)
CONTENTS = st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "AVIF", "BMP", "text", "empty"])
STEMS = st.sampled_from(["a", "b", "c", "._a", ".b", "Thumbs", "d e", "é", "x" * 60])


def content(kind: str, i: int) -> bytes:
    if kind in ("text", "empty"):
        return b"not an image" if kind == "text" else b""
    file = io.BytesIO()
    Image.frombytes("RGB", (8, 8), np.random.default_rng(i).bytes(192)).save(file, kind)
    return file.getvalue()


FILES = st.lists(st.tuples(STEMS, SUFFIXES, CONTENTS), min_size=1, max_size=14, unique_by=lambda one: one[:2])


def accounted(source: Source) -> tuple[int, set[str]]:
    """How many files of a source are images, good or bad, or counted; and the names of good ones."""
    splits = scan(source)
    assert not any(split.stopped for split in splits)
    images = sum(len(split) + len(split.bad) + len(split.left_out) for split in splits)
    assert images == inspect(source).n_train
    passed_over = sum(one.n for split in splits for one in split.passed_over)
    return images + passed_over, {name for split in splits for name in split.names}


@FILES_TRIED
@given(files=FILES)
def test_every_file_of_a_folder_is_an_image_or_counted(files: list[tuple[str, str, str]]) -> None:
    with tempfile.TemporaryDirectory() as where:
        top = Path(where) / "f"
        (top / "one" / "deep").mkdir(parents=True)
        (top / "one" / "sure.png").write_bytes(PICTURES[0])
        readable = set()
        for i, (stem, suffix, kind) in enumerate(files):
            path = top / ("one" if i % 2 else "one/deep") / (stem + suffix)
            path.write_bytes(content(kind, i))
            known = os.path.splitext(path.name)[1].lower() in (".png", ".jpg", ".jpeg", ".jfif", ".avif")
            if known and not path.name.startswith(".") and kind not in ("text", "empty"):
                readable.add(str(path))
        total, good = accounted(FolderSource(str(top)))
        assert total == len(files) + 1
        assert readable <= good, "an image of a known suffix is in the dataset"


@FILES_TRIED
@given(files=FILES)
def test_every_member_of_a_shard_is_an_image_a_label_or_counted(files: list[tuple[str, str, str]]) -> None:
    with tempfile.TemporaryDirectory() as where:
        members = [(stem + suffix, content(kind, i)) for i, (stem, suffix, kind) in enumerate(files)]
        source = WebDatasetSource(write_tar(Path(where) / "x.tar", [("sure.png", PICTURES[0]), *members]))
        try:
            inspect(source)
        except DataError:
            return  # two images or labels of one sample, or a label without an image: it is refused by name
        total, _ = accounted(source)
        read = sum(name.endswith((".cls", ".json")) and not name.startswith(".") for name, _ in members)
        counted = sum(
            one.n for one in inspect(source).passed_over if one.reason in ("'.cls' files", "'.json' files")
        )
        assert total == len(members) + 1 - read + counted


@FILES_TRIED
@given(labels=st.lists(LABEL, min_size=1, max_size=8), kinds=st.lists(CONTENTS, min_size=8, max_size=8))
@pytest.mark.parametrize("write", [as_csv, as_parquet, as_json], ids=lambda write: write.__name__)
def test_every_row_of_a_table_is_an_image_good_or_bad(
    write: Callable[[Rows, Path], Source], labels: list[str | None], kinds: list[str]
) -> None:
    rows = [(content(kind, i), label) for i, (label, kind) in enumerate(zip(labels, kinds, strict=False))]
    with tempfile.TemporaryDirectory() as where:
        source = write(rows, Path(where))
        train, _ = scan(source)
        assert not train.stopped
        assert len(train) + len(train.bad) == len(rows)
        wrong = [kind for _, kind in zip(labels, kinds, strict=False) if kind in ("text", "empty")]
        assert len(train.bad) == len(wrong)
        given = Counter(label is not None and bool(label.strip()) for label in labels)
        assert train.n_unlabeled >= given[False] - len(wrong)
