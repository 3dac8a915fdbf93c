"""Writes the report of a sweep from its results table: a page, findings, figures with their numbers."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import matplotlib
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.claims.finding import Finding
from ssl_sweep.sweep.report.figures.all import figures
from ssl_sweep.sweep.report.figures.base import NARROW, WIDE, Drawn, Figure, Gap
from ssl_sweep.sweep.report.findings import findings, findings_markdown
from ssl_sweep.sweep.report.frame import EVALUATION, PRETRAINING, complete, finest, read_results
from ssl_sweep.sweep.report.html import Page, Picture, render
from ssl_sweep.sweep.report.paper import paper_numbers
from ssl_sweep.sweep.util.files import temporary

TITLE_KEY = b"ssl_sweep.sweep"
"""The key of the sweep's name in the metadata of results.parquet."""
PAGE, FINDINGS, RESULTS, FIGURES = "report.html", "findings.md", "results.parquet", "figures"


@dataclass(frozen=True)
class ReportFiles:
    """What was written."""

    folder: Path
    page: Path
    findings: Path
    figures: tuple[Path, ...]
    """SVG, PNG and CSV of each figure."""
    missing: tuple[Gap, ...]
    """Figures that the sweep has no cells for."""
    verdicts: tuple[str, ...]
    """One per finding."""


def write_report(table: pa.Table, out: Path, *, title: str, compare_paper: bool = False) -> ReportFiles:
    """Write the report of a results table into the folder ``out``.

    The files of an earlier report are replaced once all new ones are written; other files are kept.

    Args:
        title: name of the sweep.
        compare_paper: draw the published numbers too.

    Raises:
        StoreError: the table is not a results table, or the folder cannot be written.
    """
    frame = read_results(table)
    drawn = figures(frame, paper_numbers() if compare_paper else None)
    found = findings(frame)
    partial = temporary(out.parent, out.name or "report")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        (partial / FIGURES).mkdir(parents=True)
        pictures = [_write_figure(one, partial / FIGURES) for one in drawn if isinstance(one, Figure)]
        gaps = [one for one in drawn if isinstance(one, Gap)]
        about = _page(frame, title)
        text = findings_markdown(found, title=title, complete=about.complete, cells=about.cells)
        (partial / FINDINGS).write_text(text, encoding="utf-8")
        page = render(about, found, pictures, gaps, overview(frame))
        (partial / PAGE).write_text(page, encoding="utf-8")
        metadata = {**(table.schema.metadata or {}), TITLE_KEY: title.encode()}
        pq.write_table(table.replace_schema_metadata(metadata), partial / RESULTS)
        _move(partial, out, {f"{one.name}{more}" for one in drawn for more in ("", "-paper")})
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return _files(out, drawn, found)


def title_of(path: Path, table: pa.Table) -> str:
    """The sweep's name from the metadata of a report's results.parquet, else the file's name."""
    kept = (table.schema.metadata or {}).get(TITLE_KEY)
    return kept.decode() if kept else path.stem


def overview(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean top-1 (%) at the finest level by the columns that vary, with n; the best first per domain."""
    rows = finest(frame)
    asked = [
        name
        for name in (*PRETRAINING, *EVALUATION)
        if name in rows and name not in ("level", "train_level", "steps")
    ]
    first = ["method", "pretrain_domain", "images", "eval_domain", "n_labels", "protocol"]
    done = complete(rows)
    keys = first + [name for name in asked if name not in first and _varies(done, name)]
    grouped = done.groupby(keys, dropna=False)
    table = grouped.agg(
        top1=("top1", "mean"), n=("pretrain_seed", "nunique"), cells=("cell_id", "nunique")
    ).reset_index()
    table["top1"] *= 100
    return table.sort_values(["eval_domain", "n_labels", "top1"], ascending=[True, False, False]).reset_index(
        drop=True
    )


def _varies(rows: pd.DataFrame, name: str) -> bool:
    """Whether a column has several values, or is missing in some rows of one method and protocol only."""
    alike = rows.groupby(["method", "protocol"], dropna=False)[name]
    return rows[name].nunique() > 1 or bool((alike.nunique(dropna=False) > 1).any())


def _write_figure(figure: Figure, folder: Path) -> Picture:
    with warnings.catch_warnings(), matplotlib.rc_context(style.rc()):
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a reader's fonts may have it
        wide, narrow = figure.draw(WIDE), figure.draw(NARROW)
        picture = Picture(
            figure,
            style.svg(wide, f"{figure.name}-w", figure.title),
            style.svg(narrow, f"{figure.name}-n", figure.title),
        )
        drawn = style.png(wide)
    (folder / f"{figure.name}.svg").write_text(style.alone(picture.wide, figure.caption), encoding="utf-8")
    (folder / f"{figure.name}.png").write_bytes(drawn)
    _no_formulas(figure.data).to_csv(folder / f"{figure.name}.csv", index=False)
    return picture


def _no_formulas(data: pd.DataFrame) -> pd.DataFrame:
    """Names that a spreadsheet would run as formulas, marked as text."""

    def text(value: object) -> object:
        return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value

    named = data.select_dtypes(exclude=["number", "bool"])
    return data.assign(**{name: named[name].astype(object).map(text) for name in named})


def _page(frame: pd.DataFrame, title: str) -> Page:
    status = frame.groupby("cell_id")["status"].first()
    complete = int((status == "complete").sum())
    seeds = sorted(frame["pretrain_seed"].unique())
    facts = [
        ("Evaluated on", ", ".join(sorted(frame["eval_domain"].unique()))),
        ("Encoders", f"{frame['pretrain_id'].nunique():,}"),
        ("Pretraining seeds", f"{len(seeds)}"),
        ("Written", date.today().isoformat()),
        ("ssl-sweep", _version("ssl-sweep")),
    ]
    made = (
        f"Written from results.parquet by ssl-sweep {_version('ssl-sweep')}, with matplotlib"
        f" {_version('matplotlib')} and pandas {_version('pandas')}. This page loads nothing from the"
        " network."
    )
    return Page(title=title, complete=complete, cells=len(status), facts=facts, made=made)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from its folder without being installed
        return "not installed"


def _move(partial: Path, out: Path, names: Set[str]) -> None:
    """Move the files into place, and delete figures of an earlier report, by ``names``, that are not new."""
    out.mkdir(exist_ok=True)
    kept = out / FIGURES
    kept.mkdir(exist_ok=True)
    new = {path.name for path in (partial / FIGURES).iterdir()}
    for path in (partial / FIGURES).iterdir():
        path.replace(kept / path.name)
    for old in kept.iterdir():
        if old.name not in new and old.stem in names and old.suffix in (".svg", ".png", ".csv"):
            old.unlink()
    for name in (RESULTS, FINDINGS, PAGE):
        (partial / name).replace(out / name)


def _files(out: Path, drawn: Sequence[Drawn], found: Sequence[Finding]) -> ReportFiles:
    names = [one.name for one in drawn if isinstance(one, Figure)]
    return ReportFiles(
        folder=out,
        page=out / PAGE,
        findings=out / FINDINGS,
        figures=tuple(out / FIGURES / f"{name}.{kind}" for name in names for kind in ("svg", "png", "csv")),
        missing=tuple(one for one in drawn if isinstance(one, Gap)),
        verdicts=tuple(one.verdict for one in found),
    )
