"""One report of a whole study, written once."""

from __future__ import annotations

from pathlib import Path

import pytest
from study_table import HOSTILE, study

from ssl_sweep.sweep.report.report import ReportFiles, write_report


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> ReportFiles:
    """Of two domains, one of which has a name that means harm; not all of it is finished."""
    table = study(64, ("objects", "scenes"), (500, 2000, 8000))
    for row in table.rows:
        for name in ("pretrain_domain", "eval_domain", "fused_domain", "fused_with"):
            if row.get(name):
                row[name] = str(row[name]).replace("scenes", HOSTILE)
    folder: Path = tmp_path_factory.mktemp("report") / "out"
    return write_report(table.arrow(), folder, title=f"study {HOSTILE}")
