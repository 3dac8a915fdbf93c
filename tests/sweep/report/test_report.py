"""What is written, and from what: unfinished and empty sweeps, a Parquet file alone, an old report in the
way."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from results_frame import Table

from ssl_sweep.cli import cli
from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.report.frame import read_table
from ssl_sweep.sweep.report.report import ReportFiles, overview, title_of, write_report


def small(status: str = "complete") -> Table:
    table = Table(n_test=50)
    for labels in (100, 1000):
        table.add(0.4, n_labels=labels, status=status)
        table.add(0.2, n_labels=labels, method="random", status=status)
    return table


def test_every_figure_has_its_picture_its_numbers_and_a_place_in_the_page(report: ReportFiles) -> None:
    assert all(path.stat().st_size > 100 for path in report.figures)
    assert {path.suffix for path in report.figures} == {".svg", ".png", ".csv"}
    text = report.page.read_text()
    for path in report.figures:
        if path.suffix == ".csv":
            assert f'id="figure-{path.stem}"' in text
            assert len(pd.read_csv(path)) > 0
    assert not report.missing, "the study asks every question"
    assert report.findings.read_text().startswith("#")
    assert not list(report.folder.parent.glob(".*")), "nothing temporary is left"


def test_the_parquet_file_of_a_report_gives_the_same_report(tmp_path: Path) -> None:
    first = write_report(small().arrow(), tmp_path / "first", title="small <b>")
    table = read_table(first.folder / "results.parquet")
    again = write_report(table, tmp_path / "again", title=title_of(tmp_path / "other.parquet", table))
    assert again.page.read_text() == first.page.read_text()
    assert [path.read_bytes() for path in again.figures] == [path.read_bytes() for path in first.figures]


def test_a_sweep_that_has_only_begun_has_a_report(tmp_path: Path) -> None:
    written = write_report(small("waiting").arrow(), tmp_path / "out", title="begun")
    text = written.page.read_text()
    assert (
        "This sweep is not finished" in text and "0</dd>" not in text.split("Evaluated on")[0].split("of")[1]
    )
    assert "holds" not in written.verdicts
    begins = written.findings.read_text().splitlines()
    assert begins[0] == "# Findings: begun" and "not finished**: 0 of 12 cells" in begins[2]


def test_a_report_replaces_its_own_figures_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "figures").mkdir(parents=True)
    (out / "figures" / "cross-domain.svg").write_text("of an earlier sweep")
    (out / "figures" / "logo.png").write_text("mine")
    (out / "notes.txt").write_text("mine")
    (out / "report.html").write_text("old")
    written = write_report(small().arrow(), out, title="small")
    assert not (out / "figures" / "cross-domain.svg").exists()
    assert (out / "notes.txt").read_text() == (out / "figures" / "logo.png").read_text() == "mine"
    assert "small" in written.page.read_text()


def test_the_command_needs_no_store_for_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(small().arrow(), tmp_path / "results.parquet")
    out = tmp_path / "out"
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    done = CliRunner().invoke(cli, ["report", str(tmp_path / "results.parquet"), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert not list((tmp_path / "here").iterdir()), "no store is made"
    assert str(out / "report.html") in done.output and "figures" in done.output


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"not parquet", "cannot be read as Parquet"),
        ("columns", "is not a results table"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, content: bytes | str | None, message: str) -> None:
    path = tmp_path / "results.parquet"
    if content == "columns":
        pd.DataFrame({"a": [1]}).to_parquet(path)
    elif content is not None:
        path.write_bytes(content)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match=message):
        write_report(read_table(path), tmp_path / "out", title="x")
    assert not (tmp_path / "out").exists()


def test_answers_by_steps_and_by_epochs_are_two_rows_of_the_overview() -> None:
    table = Table().add(0.2, method="random", protocol="fine-tune", finetune_steps=150)
    table.add(0.6, method="random", protocol="fine-tune", finetune_steps=None, finetune_epochs=4)
    rows = overview(table.frame())
    assert sorted(rows["top1"].round()) == [20, 60] and set(rows["n"]) == {3}


def test_a_name_is_no_formula_in_a_spreadsheet(tmp_path: Path) -> None:
    table, levels = Table(n_test=50), (("label", 20), ("=HYPERLINK(1)", 5))
    table.add(0.5, levels=levels).add(0.4, levels=levels, method="random", protocol="fine-tune")
    written = write_report(table.arrow(), tmp_path / "out", title="x")
    text = (written.folder / "figures" / "granularity.csv").read_text()
    assert "'=HYPERLINK(1)" in text and ",=HYPERLINK" not in text


def test_letters_that_the_pictures_have_no_shape_for_are_no_warning(tmp_path: Path) -> None:
    table = Table(n_test=50).add(0.5, levels=(("label", 20), ("科", 5)))
    written = write_report(table.arrow(), tmp_path / "out", title="x")  # a warning is an error here
    assert "科" in written.page.read_text()
