"""Tables and sentences for people; programs use --json, csv or parquet."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ssl_sweep.sweep.planning.notes import changed_files
from ssl_sweep.sweep.results.status import Status
from ssl_sweep.sweep.results.summary import reading_order, shown_columns, summary
from ssl_sweep.sweep.run.progress import duration
from ssl_sweep.sweep.spec.specs import STAGES
from ssl_sweep.sweep.spec.states import STATES
from ssl_sweep.sweep.util.addresses import DEFAULT_STORE, masked

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.progress import TaskID

    from ssl_sweep.sweep.commands.doctor import Check
    from ssl_sweep.sweep.cost.estimate import Costed
    from ssl_sweep.sweep.datasets.commands import OnProgress
    from ssl_sweep.sweep.run.run import RunResult

_STAGE_ROWS_SHOWN = 40
_RUNNING_SHOWN = 20


class _Console(Console):
    """A console that lets the command line handle a closed pipe, as other programs do."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console_on(stream: IO[str]) -> Console:
    """A console; plain and wide if the stream is not a terminal."""
    return _Console(file=stream, width=None if stream.isatty() else 240, highlight=False)


@contextmanager
def progress_bars(console: Console) -> Iterator[OnProgress]:
    """A function that draws a bar for each dataset while it is read, if the console is a terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bars: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def on_progress(name: str, done: int, total: int) -> None:
            if name not in bars:
                bars[name] = progress.add_task(escape(name), total=total)
            progress.update(bars[name], completed=done)

        yield on_progress


def print_plan(costed: Costed, out: Console) -> None:
    """The number of cells and of unique stages, why each runs, and the estimate."""
    plan, estimate = costed.plan, costed.estimate
    unique = ", ".join(f"{sum(n.kind == kind for n in plan.stages)} {kind}" for kind in STAGES)
    out.print(
        f"[bold]{plan.sweep}[/bold]: {len(plan.cells):,} cells → {len(plan.stages):,} stages ({unique})"
    )
    table = Table("stage", "complete", "to run", "why", box=None, pad_edge=False)
    for kind in STAGES:
        count = plan.counts[kind]
        why = Counter(stage.reason for stage in plan.to_run if stage.kind == kind)
        table.add_row(
            kind,
            f"{count['complete']:,}",
            f"{count['to_run']:,}",
            ", ".join(f"{reason} ({n:,})" if len(why) > 1 else reason for reason, n in why.most_common()),
        )
    out.print(table)
    waiting = [stage for stage in plan.to_run if stage.kind in ("prepare", "pretrain")]
    for stage in waiting[:_STAGE_ROWS_SHOWN]:
        out.print(f"  {stage.id}  {stage.kind:<8}  {stage.reason:<14}  {escape(stage.label)}")
    if len(waiting) > _STAGE_ROWS_SHOWN:
        out.print(f"  … and {len(waiting) - _STAGE_ROWS_SHOWN} more (--json lists all)")
    for line in (*estimate.lines(), *map(str, plan.notes)):
        out.print(escape(line))
    if plan.prepares:
        unread = "Some datasets are not prepared yet; the ids of stages that need them are provisional."
        out.print(escape(changed_files(plan.prepares) or unread))


def print_run(
    result: RunResult, out: Console, err: Console, again: Sequence[str], tracking_uri: str | None = None
) -> None:
    """The summary table on stdout; what was done and what to do next on stderr."""
    tracked = [*again, "--tracking-uri", masked(tracking_uri)] if tracking_uri else again
    print_summary(result.table, out)
    done = Counter(stage.kind for stage in result.executed)
    counts = ", ".join(f"{done[kind]} {kind}" for kind in STAGES if done[kind]) or "0 stages"
    err.print(f"executed {counts} in {duration(result.seconds)}")
    for stage, why in result.failed[:20]:
        err.print(f"[red]{stage.kind} {stage.id}[/red] {escape(stage.label)}: {escape(why)}", soft_wrap=True)
    if len(result.failed) > 20:
        err.print(f"… and {len(result.failed) - 20} more failed or blocked stages")
    if result.mirror_error:
        err.print(f"[yellow]MLflow is behind[/yellow]: {escape(result.mirror_error)}", soft_wrap=True)
        if not result.mirror_final:
            err.print(f"  next: {_shell(tracked, 'sync')}", soft_wrap=True)
    if result.limit:
        err.print(f"{result.limit}; to continue, raise the limit: {_shell(tracked, 'run')}", soft_wrap=True)
        return
    if result.interrupted is not None:
        err.print(f"interrupted; to continue: {_shell(tracked, 'run')}", soft_wrap=True)
        return
    if result.failed:
        err.print(f"Fix the failures, then run: {_shell(tracked, 'run')}", soft_wrap=True)
    store = [*again[again.index("--store") :]] if "--store" in again else []
    err.print(f"next: {_shell(again, 'results')} --format csv", soft_wrap=True)
    err.print(f"      {shlex.join(['ssl-sweep', 'ui', *store])}", soft_wrap=True)


def again(command: str, grid: Path, overrides: Sequence[str], store_uri: str) -> list[str]:
    """The command that names the same sweep, for hints."""
    store = [] if store_uri == DEFAULT_STORE else ["--store", store_uri]
    return ["ssl-sweep", command, str(grid), *overrides, *store]


def _shell(again: Sequence[str], command: str) -> str:
    return shlex.join([again[0], command, *again[2:]])


def print_summary(table: pa.Table, out: Console) -> None:
    """Mean top-1 at each domain's largest label budget so far: a row per pretraining, a column per domain."""
    rows = summary(table)
    if not rows:
        out.print("no cell is complete yet")
        return
    domains = sorted({(row.eval_domain, row.n_labels) for row in rows})
    shown = Table(title="top-1 % at the largest label budget, mean over seeds", title_justify="left")
    for name in ("method", "pretrained on", "images", "corruption", "encoder"):
        shown.add_column(name)
    for name, n_labels in domains:
        shown.add_column(f"{name}\n{n_labels:,} labels", justify="right")
    best = {d: max(row.mean for row in rows if (row.eval_domain, row.n_labels) == d) for d in domains}
    for key in dict.fromkeys(row.pretraining for row in rows):
        cells = []
        for domain in domains:
            found = [r for r in rows if r.pretraining == key and (r.eval_domain, r.n_labels) == domain]
            cells.append(
                _percent(found[0].mean, found[0].std, found[0].mean == best[domain]) if found else "·"
            )
        shown.add_row(*(str(part) for part in key), *cells)
    out.print(shown)


def _percent(mean: float, std: float | None, best: bool) -> str:
    text = f"{100 * mean:.1f}" + (f" ± {100 * std:.1f}" if std is not None else "")
    return f"[bold]{text}[/bold]" if best else text


def print_table(table: pa.Table, out: Console) -> None:
    """Every row in reading order, with the main columns and those in which rows differ; ``--format csv`` has
    all columns. A table per class is shown with all columns."""
    rows, names = table.to_pylist(), table.column_names
    if "class" not in names:
        rows.sort(key=reading_order)
        names = shown_columns(rows)
    shown = Table(box=None, pad_edge=False)
    for name in names:
        shown.add_column(name, no_wrap=True)
    for row in rows:
        shown.add_row(*("" if row[n] is None else escape(_cell(row[n])) for n in names))
    out.print(shown)


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def print_status(status: Status, out: Console, where: str = "") -> None:
    """Stages by state, which driver holds what, and what failed and why; hints add ``where`` to a command."""
    table = Table("stage", *(state.replace("_", " ") for state in STATES))
    for stage in STAGES:
        count = status.counts[stage]
        if sum(count.values()):
            table.add_row(stage, *(str(count[state]) if count[state] else "·" for state in STATES))
    out.print(table)
    for held in status.running[:_RUNNING_SHOWN]:
        holder = f"driver {held.driver} on {held.host} since {held.since}"
        out.print(
            f"[cyan]{held.stage} {held.id}[/cyan] {escape(held.label)}: {escape(holder)}", soft_wrap=True
        )
    if len(status.running) > _RUNNING_SHOWN:
        out.print(f"… and {len(status.running) - _RUNNING_SHOWN} more are held (--json lists all)")
    for failure in status.failures:
        why = f"{failure.kind}, attempt {failure.attempt}: {failure.message}"
        out.print(
            f"[red]{failure.stage} {failure.id}[/red] {escape(failure.label)}: {escape(why)}", soft_wrap=True
        )
    if status.failures:
        first = status.failures[0].id
        out.print(
            f"next: see `ssl-sweep logs {first}{where}`, fix the cause, then run the sweep again",
            soft_wrap=True,
        )


def print_checks(checks: Iterable[Check], out: Console) -> int:
    """Print each check of the doctor with its hint. Returns the exit code."""
    problems = False
    for check in checks:
        colour = {"ok": "green", "note": "yellow", "problem": "red"}[check.state]
        line = f"[{colour}]{check.state:<8}[/{colour}] {check.name:<9} {escape(check.detail)}"
        out.print(line, soft_wrap=True)
        if check.hint:
            out.print(f"{'':18}hint: {escape(check.hint)}", soft_wrap=True)
        problems = problems or check.state == "problem"
    return 1 if problems else 0


def show_results(table: pa.Table, form: str, output: Path | None, out: Console) -> None:
    """The table in one of the forms of `ssl-sweep results`, on stdout or in a file."""
    from ssl_sweep.sweep.results.table import save_results, write_results  # imports pyarrow

    if form == "table" and output is None:
        print_table(table, out)
    elif output is None:
        write_results(table, form, sys.stdout.buffer)
    else:
        save_results(table, form, output)
