"""What a label is: one cleaning for every format, over both splits together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import write_csv

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.preparation.check import Finding, Scanned, check_dataset
from ssl_sweep.data_ops.preparation.prepare import prepare
from ssl_sweep.data_ops.preparation.scan import scan
from ssl_sweep.data_ops.preparation.similar_names import difference
from ssl_sweep.data_ops.sources.labels import LONGEST, MISSING, clean_column, clean_text
from ssl_sweep.data_ops.sources.registry import (
    CsvSource,
    FolderSource,
    NpzSource,
    ParquetSource,
    Source,
    inspect,
    iterate,
)


def ppm(i: int) -> bytes:
    """The i-th of distinct images of 2 x 2 pixels."""
    return b"P6 2 2 255\n" + np.random.default_rng(i).bytes(12)


def table(folder: Path, train: Sequence[str], test: Sequence[str] = (), **options: object) -> CsvSource:
    """CSV files with these labels."""
    folder.mkdir(exist_ok=True)
    where = {}
    for split, labels in (("train", train), ("test", test)):
        lines = []
        for i, label in enumerate(labels):
            (folder / f"{split}{i}.ppm").write_bytes(ppm(i + 1000 * (split == "test")))
            lines.append([f"{split}{i}.ppm", label])
        if labels:
            where[split] = write_csv(folder / f"{split}.csv", ["path", "label"], lines)
    return CsvSource(where["train"], where.get("test"), **options)  # type: ignore[arg-type]


def labels_of(source: Source, split: str = "train") -> list[str | None]:
    return [raw.labels[0] for raw in iterate(source, split)]  # type: ignore[arg-type]


def found(source: Source, kind: str) -> list[Finding]:
    findings = check_dataset(Scanned(name="mine", source=source, splits=scan(source)))
    return [finding for finding in findings if finding.kind == kind]


@pytest.mark.parametrize("spelling", ["-1", "nan", "None", "NaN", "null", " -1 ", "-1.0", "<NA>", "NA"])
def test_missing_values_are_missing_and_told(tmp_path: Path, spelling: str) -> None:
    source = table(tmp_path, ["cat", "dog", spelling, "cat"])
    assert labels_of(source) == ["cat", "dog", None, "cat"]
    (told,) = found(source, "missing values")
    assert not told.severe and told.items == (f"{spelling.strip()!r}: 1",)
    kept = table(tmp_path, ["cat", "dog", spelling, "cat"], missing=("",))
    assert labels_of(kept) == ["cat", "dog", spelling.strip(), "cat"]
    other = table(tmp_path, ["cat", "dog", "unknown", ""], missing=("unknown",))
    assert labels_of(other) == ["cat", "dog", None, None]


def test_a_test_image_whose_label_counts_as_missing_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"test\.csv: 1 test images have the label 'NA', which counts as missing"
    ):
        inspect(table(tmp_path, ["NA", "SA"], ["NA", "SA"]))
    regions = table(tmp_path, ["NA", "SA"], ["NA", "SA"], missing=("",))
    assert prepare(regions, 2, tmp_path / "out").class_names == (("NA", "SA"),)


def test_a_class_minus_one_can_be_told(tmp_path: Path) -> None:
    signs = table(tmp_path, ["-1", "1", "+1", "-1.0"], missing=("",))
    assert labels_of(signs) == ["-1", "1", "1", "-1"]
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=images, labels=np.array([-1, 1, -2]))
    where = str(tmp_path / "x.npz")
    assert labels_of(NpzSource(where)) == [None, "1", "-2"]
    assert labels_of(NpzSource(where, missing=("",))) == ["-1", "1", "-2"]


def test_whole_numbers_of_both_splits_have_one_spelling(tmp_path: Path) -> None:
    source = table(tmp_path, ["08", "09", "10"], ["8", "9", "10.0"])
    assert labels_of(source) == labels_of(source, "test") == ["8", "9", "10"]
    assert prepare(source, 2, tmp_path / "out").class_names == (("8", "9", "10"),)
    kept = table(tmp_path, ["08", "8", "8.0"], ["8", "08"], similar_names="keep")
    assert labels_of(kept) == ["08", "8", "8"], "these differ on purpose"
    words = table(tmp_path, ["08", "8", "eight", "8"], ["8", "08", "eight"])
    assert labels_of(words) == ["08", "8", "eight", "8"]
    (similar,) = found(words, "similar names")
    assert similar.items == ("'08' and '8' differ only by leading zeros",) and not similar.severe


@pytest.mark.parametrize(
    "blank", [" ", "\u00a0", "\u2003", "\u3000", "\t", "\n", "\u200b", "\ufeff", "\u2060", "\u0085", "\0"]
)
def test_blanks_of_every_kind_are_stripped(blank: str) -> None:
    assert clean_text(f"{blank}cat{blank}{blank}") == "cat"
    assert clean_text(f"red{blank}cat") == f"red{blank}cat", "not within a name"


def test_folders_whose_names_print_alike_are_one_class(tmp_path: Path) -> None:
    for i, name in enumerate(("cat", "cat ", "cat\u00a0", "cafe\u0301", "caf\u00e9", "dog")):
        (tmp_path / "f" / name).mkdir(parents=True)
        (tmp_path / "f" / name / "x.ppm").write_bytes(ppm(i))
    manifest = prepare(FolderSource(str(tmp_path / "f")), 2, tmp_path / "out")
    assert manifest.class_names == (("caf\u00e9", "cat", "dog"),)
    assert manifest.class_counts == ((2, 3, 1),)


def test_letters_of_both_cases_are_classes_if_both_splits_have_them(tmp_path: Path) -> None:
    both = table(tmp_path, ["A", "a", "B"], ["a", "A"])
    assert prepare(both, 2, tmp_path / "out").class_names == (("A", "B", "a"),)
    assert [finding.items for finding in found(both, "similar names")] == [
        ("'A' and 'a' differ only by case",)
    ]
    slip = table(tmp_path, ["A", "a", "B"], ["A", "B"])
    said = "label: classes 'A' and 'a' differ only by case; give them one name, or set similar_names: keep"
    with pytest.raises(DataError, match=said):
        prepare(slip, 2, tmp_path / "out")
    (finding,) = found(slip, "classes")
    assert finding.severe and finding.items == ("'A' and 'a' differ only by case",)
    kept = table(tmp_path, ["A", "a", "B"], ["A", "B"], similar_names="keep")
    assert prepare(kept, 2, tmp_path / "out").class_names == (("A", "B", "a"),)


def test_casefold_is_not_case(tmp_path: Path) -> None:
    words = table(tmp_path, ["Maße", "Masse", "Masse"], ["Maße"])
    assert prepare(words, 2, tmp_path / "out").class_names == (("Masse", "Maße"),)
    assert not found(words, "similar names")


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ("Cat", "cat", "case"),
        ("red fox", "redfox", "blanks ('red fox' has U+0020 SPACE; 'redfox' has none)"),
        (
            "red fox",
            "red\u00a0fox",
            "blanks ('red fox' has U+0020 SPACE; 'red\\xa0fox' has U+00A0 NO-BREAK SPACE)",
        ),
        (
            "cat",
            "c\u200bat",
            "blanks ('cat' has none; 'c\\u200bat' has U+200B ZERO WIDTH SPACE)",
        ),
        ("site 8", "site 08", "leading zeros"),
        ("ﬁsh", "fish", "Unicode form (U+FB01 LATIN SMALL LIGATURE FI)"),
        (
            "cat",
            "c\u0430t",
            "characters that look alike (U+0061 LATIN SMALL LETTER A, U+0430 CYRILLIC SMALL LETTER A)",
        ),
        (
            "cow's",
            "cow\u2019s",
            "characters that look alike (U+0027 APOSTROPHE, U+2019 RIGHT SINGLE QUOTATION MARK)",
        ),
        ("a-b", "a\u2013b", "characters that look alike (U+002D HYPHEN-MINUS, U+2013 EN DASH)"),
        (
            "Site 8",
            "site 08",
            "a mixture of case, blanks, leading zeros, Unicode form and characters that look alike",
        ),
    ],
)
def test_near_equal_names_are_shown_with_their_difference(
    tmp_path: Path, one: str, other: str, said: str
) -> None:
    assert difference(one, other) == said
    with pytest.raises(DataError, match=r"differ only by .* give them one name"):
        prepare(table(tmp_path, [one, other, "dog"], ["dog"]), 2, tmp_path / "out")


def test_a_header_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    source = table(tmp_path, ["a", "b"])
    (tmp_path / "train.csv").write_text("path,label,label\ntrain0.ppm,a,b\n")
    with pytest.raises(DataError, match=r"train\.csv: 2 columns are named 'label'; rename all but one"):
        inspect(source)
    (tmp_path / "train.csv").write_text("path,label,note,note\ntrain0.ppm,a,b,c\n")
    assert labels_of(source) == ["a"], "a column that is not asked for"


def test_arrays_that_are_no_labels_are_named(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    where = str(tmp_path / "x.npz")

    def problem(**arrays: np.ndarray) -> str:
        np.savez(where, **arrays)
        with pytest.raises(DataError) as error:
            inspect(NpzSource(where))
        return str(error.value)

    codes = np.array([0, 1, 0, 1])
    assert "no array 'labels' (did you mean 'label'?); it has images, label" in problem(
        images=images, label=codes
    )
    assert "it has images, y" in problem(images=images, y=codes)
    assert "it looks one-hot: save its argmax(axis=1)" in problem(images=images, labels=np.eye(3)[codes])
    rows = np.zeros((4, 3, 1024), np.uint8)
    assert "save images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)" in problem(images=rows, labels=codes)
    first = np.zeros((4, 3, 32, 32), np.uint8)
    assert "channels first; save images.transpose(0, 2, 3, 1)" in problem(images=first, labels=codes)


def test_a_name_of_very_many_digits_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"label: a label has 5,000 characters \('9{40}'…\)"):
        inspect(table(tmp_path, ["9" * 5000, "1"]))
    long = table(tmp_path, ["9" * LONGEST, "1", "10"])
    assert prepare(long, 2, tmp_path / "out").class_names == (("1", "10", "9" * LONGEST),)


def test_classes_that_differ_between_the_splits_are_refused_before_decoding(tmp_path: Path) -> None:
    train = [f"class {i}" for i in range(15)]
    test = train[:4] + [f"klass {i}" for i in range(11)]
    with pytest.raises(
        DataError, match=r"test\.csv: 11 of 15 test classes of 'label' have no training image"
    ):
        inspect(table(tmp_path, train, test))


def test_a_labelled_image_and_its_unlabelled_copy_are_no_conflict(tmp_path: Path) -> None:
    source = table(tmp_path, ["a", "b", "", "a"])
    for copy in ("train2.ppm", "train3.ppm"):
        (tmp_path / copy).write_bytes(ppm(0))
    (copies,) = found(source, "copies within a split")
    assert not copies.severe and "different labels" not in copies.message
    source = table(tmp_path, ["a", "b", "", "b"])
    for copy in ("train2.ppm", "train3.ppm"):
        (tmp_path / copy).write_bytes(ppm(0))
    (copies,) = found(source, "copies within a split")
    assert copies.severe and "the copies of 1 have different labels" in copies.message


def test_a_hierarchy_is_cleaned_like_the_labels(tmp_path: Path) -> None:
    source = table(tmp_path, ["08", "9 ", "cafe"], hierarchy=str(tmp_path / "h.csv"))
    (tmp_path / "train.csv").write_text("path,label\ntrain0.ppm,8.0\ntrain1.ppm,9\n")
    (tmp_path / "h.csv").write_text("label,above\n08,\u00a0even\n09,odd\n", encoding="utf-8")
    assert [raw.labels for raw in iterate(source, "train")] == [("8", "even"), ("9", "odd")]


def test_groups_are_cleaned_too(tmp_path: Path) -> None:
    images = [ppm(i) for i in range(4)]
    table = pa.table({"image": images, "label": list("abab"), "site": ["1.0", "01", "nan", "\u00a02"]})
    pq.write_table(table, tmp_path / "x.parquet")
    source = ParquetSource(str(tmp_path / "x.parquet"), group="site")
    assert [raw.group for raw in iterate(source, "train")] == ["1", "1", None, "2"]


def test_a_column_is_cleaned_once_and_for_all() -> None:
    cells = [" 08", "8.0", "-1", None, "9"]
    column = clean_column("x", cells)
    assert column == {" 08": "8", "8.0": "8", "-1": None, None: None, "9": "9"}
    again = clean_column("x", column.values())
    assert all(label == clean for label, clean in again.items())
    assert all(clean_column("x", [spelling])[spelling] is None for spelling in MISSING)


def test_signatures_of_tables_that_were_read_this_way_before_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The values are those of the version before the cleaning: nothing is prepared again."""
    monkeypatch.chdir(tmp_path)
    Path("f").mkdir()
    for i in range(4):
        Path(f"f/{i}.ppm").write_bytes(b"P6 2 2 255\n" + bytes(range(i, i + 12)))
    rows = {"t.csv": ["", "1.0", "0.0", "1.0"], "u.csv": ["cat", "dog", "cat", "dog"], "v.csv": list("0110")}
    for name, labels in rows.items():
        Path(name).write_text("path,label\n" + "".join(f"f/{i}.ppm,{x}\n" for i, x in enumerate(labels)))
    for path in (*Path().glob("*.*"), *Path("f").iterdir()):
        os.utime(path, ns=(10**18, 10**18))
    found = [inspect(CsvSource(name)).signature[:16] for name in rows]
    assert found == ["626b0d72d54265ee", "f006b1fa3f681067", "b8233dec42299ea1"]
    changed = CsvSource("t.csv")
    Path("t.csv").write_text("path,label\nf/0.ppm,nan\nf/1.ppm,1.0\nf/2.ppm,0.0\nf/3.ppm,1.0\n")
    os.utime("t.csv", ns=(10**18, 10**18))
    assert inspect(changed).signature[:16] not in found
