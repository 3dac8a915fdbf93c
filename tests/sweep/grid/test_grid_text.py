"""What a grid's text means: names keep their text, and numbers are numbers that have one reading."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssl_sweep.sweep.errors import GridError
from ssl_sweep.sweep.grid.load import Grid, load_grid

pytestmark = pytest.mark.smoke

GRID = """\
name: {name}
datasets:
  {data}: {{source: synthetic, domain: objects, seed: {data_seed}}}
pretrain:
  - {{domain: {data}, images: {images}, epochs: {epochs}, seed: {seed}}}
evaluate:
  - {{domain: {data}, labels: {labels}}}
"""
SOUND = {
    "name": "x",
    "data": "a",
    "images": "500",
    "epochs": "7",
    "seed": "0",
    "labels": "[5, 10%]",
    "data_seed": "3",
}


def loaded(tmp_path: Path, **changed: str) -> Grid:
    path = tmp_path / "grid.yaml"
    path.write_text(GRID.format(**SOUND | changed))
    return load_grid(path)


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("labels", "[1.000]", "labels: 1.000 can be read as 1 or as 1000; write 1 or 1000"),
        ("labels", "[5, 2.500]", "labels: 2.500 can be read as 2 or as 2500"),
        ("images", "10.000", "images: 10.000 can be read as 10 or as 10000; write 10 or 10000"),
        ("images", "'10.000'", "images: 10.000 can be read as 10 or as 10000"),
        ("epochs", "1.000", "epochs: 1.000 can be read as 1 or as 1000"),
        ("epochs", "'7'", "epochs: '7' is text; write 7 without quotes"),
        ("epochs", "[3, '7']", "epochs: '7' is text"),
        ("seed", "true", "seed: true is not a number"),
        ("seed", "[0, false]", "seed: false is not a number"),
        ("data_seed", "true", "seed: true is not a number"),
        ("data_seed", "'4'", "seed: '4' is text; write 4 without quotes"),
    ],
)
def test_a_number_with_two_readings_or_in_quotes_is_refused(
    tmp_path: Path, key: str, text: str, said: str
) -> None:
    with pytest.raises(GridError) as error:
        loaded(tmp_path, **{key: text})
    assert said in str(error.value)
    (problem,) = error.value.problems
    assert problem.line == (3 if key == "data_seed" else 7 if key == "labels" else 5)


@pytest.mark.parametrize("name", ["1.10", "010", "1e3", "1_000", "007.50"])
def test_names_keep_their_text(tmp_path: Path, name: str) -> None:
    grid = loaded(tmp_path, name=name, data=name)
    assert grid.name == name and list(grid.datasets) == [name]
    assert grid.pretrain[0].value.domain[0].names == (name,)
    assert grid.evaluate[0].value.domain == (name,)


def test_a_number_of_very_many_digits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GridError, match="seed: "):
        loaded(tmp_path, seed="9" * 5000)
    for images in ("9" * 5000, "0." + "1" * 5000 + "%"):
        with pytest.raises(GridError, match=r"images: a text of 5,0\d\d characters is not a size"):
            loaded(tmp_path, images=images)


def test_numbers_of_other_spellings_are_those_numbers(tmp_path: Path) -> None:
    grid = loaded(tmp_path, images="[10_000, 1.5k, 2.500k, 1e3]", epochs="[007, 7.0]", seed="[+1]")
    block = grid.pretrain[0].value
    assert [size.canonical for size in block.images] == ["10000", "1500", "2500", "1000"]
    assert (block.epochs, block.seed) == ((7, 7), (1,))
