"""Nothing is written among the images of a grid, whatever command would write there."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from ssl_sweep.cli import cli
from ssl_sweep.sweep.errors import SweepError, UsageError
from ssl_sweep.sweep.planning.outputs import require_outside_images, require_outside_stored
from ssl_sweep.sweep.store.store import Store

GRID = """\
name: mine
datasets:
  mine: {source: folder, train: photos, test_fraction: 0.5}
  rows: {source: parquet, train: 'tables/*.parquet', test: 'deep/**/x.parquet'}
  there: {source: synthetic, domain: objects, train: 100, test: 50}
pretrain: {domain: there, images: 64, batch: 16, epochs: 1}
evaluate: {domain: there, labels: all}
"""


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (8, 8), (i, len(name) + ord(name[0]), 0)).save(
                tmp_path / "photos" / name / f"{i}.png"
            )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grid.yaml").write_text(GRID)
    return tmp_path / "grid.yaml"


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize(
    "words",
    [
        ["run", "grid.yaml", "--store", "photos/store"],
        ["run", "grid.yaml", "--store", "photos"],
        ["plan", "grid.yaml", "--store", "photos/cat"],
        ["data", "prepare", "grid.yaml", "mine", "--store", "photos/store"],
        ["calibrate", "grid.yaml", "--store", "photos/store"],
        ["report", "grid.yaml", "-o", "photos/cat/report"],
        ["results", "grid.yaml", "--format", "csv", "-o", "photos/table.csv"],
        ["data", "inspect", "grid.yaml", "mine", "-o", "photos/cat/sheet.png"],
    ],
)
def test_a_command_that_would_write_among_the_images_is_refused_first(grid: Path, words: list[str]) -> None:
    before = everything(grid.parent)
    called = CliRunner().invoke(cli, words)
    assert isinstance(called.exception, UsageError)
    said = called.exception.report()
    assert "grid.yaml:3:33: datasets.mine.train: " in said and "its files would be read as images" in said
    assert "hint: choose a place outside with " in said
    assert everything(grid.parent) == before


def test_an_export_is_refused_by_what_was_prepared_in_the_store(grid: Path) -> None:
    called = CliRunner().invoke(cli, ["data", "prepare", "grid.yaml", "mine", "--store", "store"])
    assert called.exit_code == 0, called.output
    with pytest.raises(UsageError, match=r"photos has images: the export .*cat/x\.safetensors is inside"):
        require_outside_stored(Store("store"), Path("photos/cat/x.safetensors"), "the export", "-o")
    require_outside_stored(Store("store"), Path("x.safetensors"), "the export", "-o")
    called = CliRunner().invoke(cli, ["export", "abcdef", "--store", "store", "-o", "photos/x.safetensors"])
    assert isinstance(called.exception, UsageError) and "photos has images" in str(called.exception)


@pytest.mark.parametrize("place", ["tables/x.parquet", "deep/a/b", "deep", "photos/../photos/new"])
def test_patterns_and_detours_count(grid: Path, place: str) -> None:
    with pytest.raises(UsageError, match="datasets"):
        require_outside_images(grid, (), grid.parent / place, "the table", "-o")


@pytest.mark.parametrize("place", ["store", "tables", "tables/x.csv", "photos-2", ".", "s3://bucket/photos"])
def test_other_places_are_free(grid: Path, place: str) -> None:
    target = place if "://" in place else grid.parent / place
    require_outside_images(grid, (), target, "the store", "--store")


def test_a_link_into_the_images_counts(grid: Path) -> None:
    (grid.parent / "link").symlink_to(grid.parent / "photos" / "cat")
    with pytest.raises(UsageError, match=r"datasets\.mine"):
        require_outside_images(grid, (), grid.parent / "link" / "store", "the store", "--store")


@pytest.mark.parametrize("key", ["train", "unlabelled"])
def test_the_default_store_is_refused_if_the_working_folder_is_the_dataset(grid: Path, key: str) -> None:
    called = CliRunner().invoke(cli, ["run", "grid.yaml", f"datasets.mine.{key}=."])
    assert isinstance(called.exception, SweepError)
    assert "the store" in str(called.exception) and "is inside this folder" in str(called.exception)
    assert not (grid.parent / "ssl-sweep-store").exists()
