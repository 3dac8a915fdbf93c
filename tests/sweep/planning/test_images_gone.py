"""Once the images are gone, the store still shows what it holds, and every command says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from ssl_sweep.cli import cli
from ssl_sweep.sweep.errors import GridError
from ssl_sweep.sweep.planning.planner import plan_grid
from ssl_sweep.sweep.results.table import results as results_of
from ssl_sweep.sweep.tracking.mirror import sync_grid

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of its database's library

GRID = """\
name: mine
datasets:
  mine: {source: SOURCE, train: TRAIN, test: TEST}
pretrain: {domain: mine, images: 4, batch: 4, epochs: 1}
evaluate: {domain: mine, labels: 4}
"""
SOURCES = {"folder": ("photos/train", "photos/test"), "csv": ("train.csv", "test.csv")}


def fill(folder: Path) -> None:
    """Images in class folders, and tables that list them."""
    for split, n in (("train", 4), ("test", 2)):
        lines = ["path,label"]
        for label in ("cat", "dog"):
            (folder / "photos" / split / label).mkdir(parents=True)
            for i in range(n):
                place = folder / "photos" / split / label / f"{i}.png"
                Image.new("RGB", (8, 8), (i, n, len(label) + ord(label[0]))).save(place)
                lines.append(f"photos/{split}/{label}/{i}.png,{label}")
        (folder / f"{split}.csv").write_text("\n".join(lines))


def text_of(source: str) -> str:
    train, test = SOURCES[source]
    return GRID.replace("SOURCE", source).replace("TRAIN", train).replace("TEST", test)


@pytest.fixture(params=SOURCES)
def grid(request: pytest.FixtureRequest, sweeps: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished grid on images that are there."""
    monkeypatch.chdir(sweeps.folder)
    fill(sweeps.folder)
    text = text_of(request.param)
    sweeps.finish(sweeps.prepared(text).to_run)
    path: Path = sweeps.write(text)
    return path


def call(*words: str) -> Result:
    result = CliRunner().invoke(cli, [*words, "--store", "store"])
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def test_what_the_store_holds_is_shown_without_the_images(
    sweeps: Any, grid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Stages that are finished by decree have no predictions
    monkeypatch.setattr("ssl_sweep.sweep.results.report_table.results_with_evidence", results_of)
    before = call("results", "grid.yaml", "--format", "csv").stdout
    assert "complete" in before
    stage = sweeps.plan(grid.read_text()).pretrainings[0].id
    shutil.rmtree(sweeps.folder / "photos")
    results, report = ["results", "--format", "csv"], ["report", "-o", "out"]
    for words in (["status"], results, report, ["plan"], ["explain", stage]):
        shown = call(words[0], "grid.yaml", *words[1:])
        said = shown.output
        assert "stored: mine: " in said, words
        assert "is used, and run needs the images" in said
        if words[0] == "results":
            assert shown.stdout == before
    counts = json.loads(call("status", "grid.yaml", "--json").stdout)["cells"]
    assert counts["complete"] == sum(counts.values())
    assert plan_grid(grid, (), sweeps.store, expect=True)[1].to_run == ()


def test_a_run_needs_the_images(sweeps: Any, grid: Path) -> None:
    shutil.rmtree(sweeps.folder / "photos")
    why = "photos/train: no such folder|csv: none of the listed images exists"
    with pytest.raises(GridError, match=why) as error:
        plan_grid(grid, (), sweeps.store)
    assert "grid.yaml:3:" in str(error.value)


def test_another_dataset_is_not_taken_for_the_one_in_the_store(sweeps: Any, grid: Path) -> None:
    shutil.rmtree(sweeps.folder / "photos")
    other = ["datasets.mine.size=16"]
    if "folder" in grid.read_text():
        with pytest.raises(GridError, match="photos/train: no such folder"):
            plan_grid(grid, other, sweeps.store, expect=True)
    else:
        plan = plan_grid(grid, other, sweeps.store, expect=True)[1]
        assert plan.prepares
        assert "missing: mine: none of its images exists, and run needs the images" in map(str, plan.notes)


def test_after_the_images_were_copied_sync_says_why_it_writes_nothing(sweeps: Any, grid: Path) -> None:
    shutil.rmtree(sweeps.folder / "photos")
    fill(sweeps.folder)
    said: list[str] = []
    assert sync_grid(grid, (), sweeps.store.uri, None, said.append) == 0
    assert len(said) == 1 and "The files of mine changed, or were copied" in said[0]
    assert "ssl-sweep data prepare" in said[0]
