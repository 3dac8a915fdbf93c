"""The code on the pages runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of one language on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S)


def test_a_training_without_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("api/pretraining.md", "python")
    exec(compile(code, "docs/api/pretraining.md", "exec"), {"__name__": "example"})
    found = re.search(r"top-1 accuracy (\d+\.\d)%", capsys.readouterr().out)
    assert found is not None and float(found[1]) > 50
