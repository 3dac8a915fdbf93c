"""A report goes into the store's own MLflow, and into no other store's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.tracking.location import attach_report, open_tracker

pytestmark = pytest.mark.filterwarnings("ignore")  # of MLflow's own dependencies


def test_a_report_of_a_copied_store_leaves_the_first_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    first, copy = tmp_path / "first", tmp_path / "copy"
    open_tracker(Store(first), None, "demo")
    page = tmp_path / "report.html"
    findings = tmp_path / "findings.md"
    page.write_text("one")
    findings.write_text("# Findings")
    assert attach_report(Store(first), None, "demo", findings, page, []) == ""
    shutil.copytree(first, copy)
    page.write_text("two")
    said = attach_report(Store(copy), None, "demo", findings, page, [])
    assert "copied or moved" in said and str(first) in said and "ssl-sweep sync" in said
    (kept,) = first.rglob("report.html")
    assert kept.read_text() == "one"
    fresh = tmp_path / "fresh"  # a new MLflow database there, as sync creates it
    assert attach_report(Store(fresh), None, "demo", findings, page, []) == ""
    open_tracker(Store(fresh), None, "demo")
    assert attach_report(Store(fresh), None, "demo", findings, page, []) == ""
    assert [path.read_text() for path in fresh.rglob("report.html")] == ["two"]
    (tmp_path / "link").symlink_to(first)
    assert attach_report(Store(tmp_path / "link"), None, "demo", findings, page, []) == ""
