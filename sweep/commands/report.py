"""``ssl-sweep report``: from a grid and its store, or only from a Parquet file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssl_sweep.sweep.errors import SweepError
from ssl_sweep.sweep.report.report import ReportFiles, title_of, write_report

SUFFIX = ".parquet"


def report_of(
    source: Path,
    overrides: Sequence[str],
    store_uri: str,
    tracking_uri: str | None,
    out: Path,
    *,
    compare_paper: bool = False,
) -> str:
    """Write the report, and for a grid also attach it to the sweep's MLflow run.

    Returns what to print.

    Raises:
        SweepError: the grid or the table cannot be read, or the folder cannot be written to.
    """
    if out.exists() and not out.is_dir():
        raise SweepError(f"{out} is a file, not a folder", hint="name a folder with -o")
    if source.suffix == SUFFIX:
        return _summary(_from_table(source, overrides, out, compare_paper))
    from ssl_sweep.sweep.planning.notes import unprepared
    from ssl_sweep.sweep.planning.outputs import require_outside_images
    from ssl_sweep.sweep.planning.planner import plan_ran
    from ssl_sweep.sweep.results.report_table import results_with_evidence
    from ssl_sweep.sweep.tracking.location import attach_report

    require_outside_images(source, overrides, out, "the report", "-o")
    plan, store = plan_ran(source, overrides, store_uri)
    table = results_with_evidence(plan, store)
    written = write_report(table, out, title=plan.sweep, compare_paper=compare_paper)
    failed = attach_report(store, tracking_uri, plan.sweep, written.findings, written.page, written.figures)
    notes = [f"the report is not attached to the sweep's MLflow run: {failed}"] if failed else []
    return "\n".join([_summary(written), *notes, *filter(None, [unprepared(plan.prepares, plan.notes)])])


def _from_table(source: Path, overrides: Sequence[str], out: Path, compare_paper: bool) -> ReportFiles:
    from ssl_sweep.sweep.report.frame import read_table

    if overrides:
        raise SweepError(
            f"{overrides[0]}: overrides change a grid, not a results table", hint="give the grid instead"
        )
    table = read_table(source)
    return write_report(table, out, title=title_of(source, table), compare_paper=compare_paper)


def _summary(written: ReportFiles) -> str:
    counts = {verdict: written.verdicts.count(verdict) for verdict in dict.fromkeys(written.verdicts)}
    verdicts = ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
    shown = len(written.figures) // 3
    missing = f"; {len(written.missing)} more need cells that this sweep lacks" if written.missing else ""
    return f"{written.page}: findings: {verdicts or 'too few results yet'}; {shown} figures{missing}"
