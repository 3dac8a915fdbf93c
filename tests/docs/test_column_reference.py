"""The page of the results columns says what their declarations say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ssl_sweep.sweep.planning.columns import COLUMNS
from ssl_sweep.sweep.results.report_table import EVIDENCE

SCRIPT = Path(__file__).parents[2] / "docs" / "scripts" / "column_reference.py"


def test_the_page_is_what_the_declarations_say() -> None:
    spec = importlib.util.spec_from_file_location("column_reference", SCRIPT)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    written = script.PAGE.read_text(encoding="utf-8")
    assert written == script.reference(), "run: python docs/scripts/column_reference.py"


def test_every_column_is_described() -> None:
    assert [column.name for column in (*COLUMNS.values(), *EVIDENCE) if not column.doc.endswith(".")] == []
