from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ssl_sweep.sweep.errors import GridError
from ssl_sweep.sweep.grid.marked_yaml import YamlSource, parse_value, parse_yaml, read_yaml


def parse(text: str) -> YamlSource:
    return parse_yaml(text, file="grid.yaml", folder=Path())


def messages(text: str) -> list[str]:
    with pytest.raises(GridError) as error:
        parse(text)
    return [str(problem) for problem in error.value.problems]


@pytest.mark.smoke
def test_every_key_and_value_knows_its_place() -> None:
    source = parse("name: demo\nblocks:\n  - size: [5, 10k]\n")
    assert source.data == {"name": "demo", "blocks": [{"size": [5, "10k"]}]}
    assert str(source.problem(("blocks", 0, "size", 1), "here")) == "grid.yaml:3:15: here"
    assert str(source.problem(("blocks", 0, "size"), "here", key=True)) == "grid.yaml:3:5: here"
    assert str(source.problem(("blocks", 0, "size", 7), "here")) == "grid.yaml:3:11: here"


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("1e-4", 1e-4),
        ("1E3", 1000.0),
        ("010", 10),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("'5'", "5"),
        ("50k", "50k"),
        ("~", None),
        ("", None),
        ("-3", -3),
        (".5", 0.5),
        ("[a, 1]", ["a", 1]),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: Any) -> None:
    found = parse_value(text)
    assert found == value
    assert isinstance(found, type(value)) and isinstance(found, bool) == isinstance(value, bool)


@pytest.mark.smoke
def test_duplicate_keys_are_all_refused() -> None:
    assert messages("a: 1\na: 2\nb: {c: 1, c: 2}\n") == [
        "grid.yaml:2:1: the key 'a' is given twice (first in line 1)",
        "grid.yaml:3:11: the key 'c' is given twice (first in line 3)",
    ]


def test_tabs_and_syntax_errors_are_located() -> None:
    assert messages("a:\n\t- b\n") == ["grid.yaml:2:1: a tab in the indentation; YAML indents with spaces"]
    assert messages("a: [1, 2\nb: 3\n")[0].startswith("grid.yaml:2:2: not YAML")
    assert messages("a: \x07\n")[0].startswith("grid.yaml:1:4: a character that YAML does not allow")


def test_nothing_but_plain_values_is_built() -> None:
    (message,) = messages("a: !!python/object/apply:os.getcwd []\n")
    assert message.startswith("grid.yaml:1:4: the tag ")
    assert "not allowed" in messages("a: !!python/name:os.getcwd x\n")[0]


def test_anchors_and_merges_work_and_own_keys_win() -> None:
    source = parse("base: &b {x: 1, y: 2}\nmine:\n  y: 3\n  <<: *b\n")
    assert source.data["mine"] == {"x": 1, "y": 3}
    assert source.mark(("mine", "y")).line == 3
    assert source.mark(("mine", "x")).line == 1


def test_the_first_of_several_merged_mappings_wins() -> None:
    source = parse("a: &a {x: 1}\nb: &b {x: 2, y: 2}\nmine:\n  <<: [*a, *b]\n")
    assert source.data["mine"] == {"x": 1, "y": 2}
    assert source.mark(("mine", "x")).line == 1


def test_aliases_cannot_recurse_or_explode() -> None:
    assert messages("a: &a [*a]\n") == ["grid.yaml:1:4: an alias that contains itself"]
    bomb = "l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]\n" for i in range(1, 6)
    )
    assert any("more than 200,000 values" in message for message in messages(bomb))
    merges = "l0: &l0 {}\n" + "".join(
        f"l{i}: &l{i} {{<<: [{', '.join([f'*l{i - 1}'] * 10)}]}}\n" for i in range(1, 12)
    )
    assert any("more than 200,000 values" in message for message in messages(merges))
    assert messages("[" * 2000 + "]" * 2000) == ["grid.yaml: its values are nested too deeply"]


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(GridError, match=r"nowhere\.yaml: cannot be read: No such file"):
        read_yaml(tmp_path / "nowhere.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(GridError, match="not UTF-8"):
        read_yaml(tmp_path / "latin.yaml")
