"""A report goes into the store's own MLflow, and into no other store's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from ssl_sweep.cli import cli
from ssl_sweep.sweep.errors import UsageError
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.tracking.location import attach_report, open_tracker, tracking_uri

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


@pytest.mark.parametrize("name", ["what?", "100%41", "a#b c"])
def test_the_database_of_any_folder_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = Store(tmp_path / name)
    open_tracker(store, None, "demo").attach("an id", "a name", {}, [])
    assert len(open_tracker(store, None, "demo").existing()) == 1
    assert (tmp_path / name / "mlflow" / "mlflow.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("./mlruns", "a folder"),
        ("mlruns", "a folder"),
        ("file:///data/mlruns", "a folder"),
        ("localhost:5000", "without http://"),
        ("http://[::1:5000", "not a valid address"),
    ],
)
def test_an_address_that_mlflow_cannot_use_is_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, says: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(UsageError, match=says) as error:
        tracking_uri(Store(tmp_path), None)
    assert str(error.value).startswith("the environment variable MLFLOW_TRACKING_URI")
    assert error.value.hint
    with pytest.raises(UsageError, match=says) as error:
        tracking_uri(Store(tmp_path), address)
    assert str(error.value).startswith("--tracking-uri")
    page = tmp_path / "page"
    page.write_text("")
    assert "MLFLOW_TRACKING_URI" in attach_report(Store(tmp_path), None, "demo", page, page, [])


def test_a_run_is_refused_before_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    called = CliRunner().invoke(cli, ["run", str(tmp_path / "grid.yaml"), "--store", str(tmp_path / "store")])
    assert isinstance(called.exception, UsageError) and "MLFLOW_TRACKING_URI" in str(called.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "address", ["http://host:5000", "sqlite:///x.db", "postgresql+psycopg2://host/db", "databricks"]
)
def test_addresses_that_mlflow_can_use_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert tracking_uri(Store(tmp_path), None) == address
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert tracking_uri(Store(tmp_path), None).startswith("sqlite:///")
