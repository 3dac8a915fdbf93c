"""Parents of classes from a table: right ones extend the labels, wrong ones are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ssl_sweep.data_ops.dataset.prepared import PreparedDataset
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.preparation.prepare import prepare
from ssl_sweep.data_ops.sources.registry import FolderSource, ParquetSource, inspect, levels_of

PARENT = {"ant": "insect", "bee": "insect", "cat": "mammal", "dog": "mammal"}
TOP = {"insect": "animal", "mammal": "animal"}


def written(path: Path, content: object) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


@pytest.mark.smoke
def test_a_table_gives_what_columns_give(rows, parquet, folder, tmp_path):
    columns = ParquetSource(parquet(rows), levels=("label", "group"))
    lines = "label,group\n" + "".join(f"{fine},{coarse}\n" for fine, coarse in PARENT.items())
    table = FolderSource(folder(rows), hierarchy=written(tmp_path / "h.csv", lines))
    assert levels_of(table) == ("label", "group")
    one, other = prepare(columns, 16, tmp_path / "a"), prepare(table, 16, tmp_path / "b")
    assert one == other


@pytest.mark.parametrize("mark", [";", "\t", " , "])
def test_semicolons_tabs_and_blanks(rows, folder, tmp_path, mark):
    lines = f"label{mark}group\n" + "".join(f"{fine}{mark}{coarse}\n" for fine, coarse in PARENT.items())
    table = FolderSource(folder(rows), hierarchy=written(tmp_path / "h.csv", lines))
    assert prepare(table, 16, tmp_path / "a").class_names[1] == ("insect", "mammal")


@pytest.mark.smoke
@pytest.mark.parametrize("content", [[PARENT, TOP], {**PARENT, **TOP}])
def test_json_stages_and_trees(rows, folder, tmp_path, content):
    source = FolderSource(folder(rows), hierarchy=written(tmp_path / "h.json", content))
    assert levels_of(source) == ("label", "parent", "parent2")
    manifest = prepare(source, 16, tmp_path / "a")
    assert manifest.class_names[1:] == (("insect", "mammal"), ("animal",))
    assert manifest.parents == ((0, 0, 1, 1), (0, 0, 0, 0))
    assert set(PreparedDataset(tmp_path / "a").labels("train", "parent2")) == {0}


def test_unlabelled_images_stay_so_and_a_changed_table_is_seen(rows, folder, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "x.png").write_bytes(rows[0][0])
    where = written(tmp_path / "h.json", PARENT)
    source = FolderSource(folder(rows[1:]), unlabelled=str(tmp_path / "more"), hierarchy=where)
    manifest = prepare(source, 16, tmp_path / "a")
    assert (manifest.n_train, manifest.n_labeled) == (40, 39)
    before = inspect(source).signature
    written(tmp_path / "h.json", {**PARENT, "ant": "crawler"})
    assert inspect(source).signature != before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("h.json", {"ant": "insect", "bee": "insect"}, "no parent for 2 classes of the images: 'cat', 'dog'"),
        ("h.json", '{"ant": "a", "ant": "b"}', "'ant' has two parents, 'a' and 'b'"),
        ("h.json", {**PARENT, "insect": "ant"}, "'ant' is among its own parents: ant > insect > ant"),
        ("h.json", {**PARENT, "x": "x"}, "'x' is among its own parents"),
        ("h.json", {**PARENT, "insect": "animal"}, "'ant' has 2 levels above it and 'cat' has 1"),
        ("h.json", [PARENT, {"insect": "animal"}], "table 2 has no parent for 'mammal'"),
        (
            "h.json",
            {**PARENT, "ant": ["a", "b"]},
            "the parent of 'ant' is .*; give each class the name of one parent",
        ),
        ("h.json", [], "write an object of class to parent"),
        ("h.json", "{", "not valid JSON"),
        ("h.json", '"x"', "write an object of class to parent"),
        ("h.csv", "label,group\nant,a\nant,b\n", "'ant' has two parents, 'a' and 'b'"),
        ("h.csv", "label,b,c\nant,x,y\nbee,x,z\n", "'x' has two parents, 'y' and 'z'; .*use two names"),
        ("h.csv", "label\nant\n", "needs a header of at least two level names"),
        ("h.csv", "label,group\nant,\n", "'ant' needs a name in each of label, group"),
        ("h.json", {"ant": "ant"}, "'ant' is among its own parents: ant > ant; give the parent another name"),
        ("h.csv", 'label,group\nant,"a\nbee,a\n', r"h\.csv, line 3: not a readable CSV file"),
        ("h.csv", "label,group\nant," + "x" * 200_000, "not a readable CSV file .field larger"),
        ("h.csv", "x,label\nant,a\nbee,a\ncat,a\ndog,a\n", "two levels have one name"),
    ],
)
def test_wrong_tables(rows, folder, tmp_path, name, content, message):
    source = FolderSource(folder(rows), hierarchy=written(tmp_path / name, content))
    with pytest.raises(DataError, match=message):
        inspect(source)


def test_a_missing_table_and_a_source_with_its_own_levels(rows, parquet, folder, tmp_path):
    with pytest.raises(DataError, match=r"gone\.json: cannot be read"):
        inspect(FolderSource(folder(rows), hierarchy=str(tmp_path / "gone.json")))
    source = ParquetSource(parquet(rows), levels=("label", "group"), hierarchy="h.json")
    with pytest.raises(DataError, match="for a source with one label level; this has label, group"):
        inspect(source)
