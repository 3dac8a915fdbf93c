"""The code on the pages runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ssl_sweep.sweep.planning.planner import validate_grid

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of one language on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.slow
def test_a_training_without_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("api/pretraining.md", "python")
    exec(compile(code, "docs/api/pretraining.md", "exec"), {"__name__": "example"})
    found = re.search(r"top-1 accuracy (\d+\.\d)%", capsys.readouterr().out)
    assert found is not None and float(found[1]) > 50


def test_the_grids_of_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (images,) = blocks("tutorial.md", "python")
    exec(compile(images, "docs/tutorial.md", "exec"), {"__name__": "example"})
    first, later = blocks("tutorial.md", "yaml")
    grid = tmp_path / "mine.yaml"
    grid.write_text(first, encoding="utf-8")
    said = validate_grid(grid)
    assert "45 cells, 6 pretrainings" in said
    grid.write_text(first.split("pretrain:")[0] + later, encoding="utf-8")
    assert "cells" in validate_grid(grid)


@pytest.mark.parametrize("page", ["data.md", "evaluation.md", "../README.md"])
def test_yaml_blocks_are_yaml(page: str) -> None:
    found = blocks(page, "yaml")
    assert found and all(isinstance(yaml.safe_load(text), dict) for text in found)
