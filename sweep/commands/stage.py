"""``ssl-sweep logs``, ``retry`` and ``explain``: the commands on single stages and cells."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from ssl_sweep.sweep.commands.options import in_store, json_option, remark, show, store_option

if TYPE_CHECKING:
    from rich.console import Console
    from rich.tree import Tree

    from ssl_sweep.sweep.inspect.explain import Explanation, Relative
    from ssl_sweep.sweep.inspect.lookup import Scope, Target

_COLOURS = {"complete": "green", "failed": "red", "blocked": "yellow", "running": "cyan", "to_run": "default"}
_RELATIVES_SHOWN = 10

_words = click.argument("words", nargs=-1, required=True, metavar="[GRID] [KEY=VALUE]... ID")


@click.command()
@_words
@store_option
@click.option("-f", "--follow", is_flag=True, help="Follow the log until the stage ends.")
def logs(words: tuple[str, ...], store_uri: str, follow: bool) -> None:
    """Show the log of a stage or cell, and how it failed. The first letters of its id are enough."""
    from ssl_sweep.sweep.inspect import logs as stage_logs

    scope, target = _one(words, store_uri)
    store = scope.store
    shown = ""
    for text in stage_logs.follow(store, target) if follow else [stage_logs.read_log(store, target)]:
        click.echo(text, nl=False)
        shown += text
    if shown and not shown.endswith("\n"):
        click.echo()
    failure = store.failure(target.stage, target.id)
    if failure is not None:
        click.echo("\n".join(stage_logs.failure_lines(failure, shown)))
        click.echo("next: fix the cause, then run the sweep again", err=True)
    elif not shown:
        more = f"ssl-sweep explain {target.id}{in_store(store_uri)}"
        click.echo(f"{target.stage} {target.id} has no log; try: {more}", err=True)


@click.command()
@click.argument("words", nargs=-1, metavar="[GRID] [KEY=VALUE]... [ID]...")
@store_option
@click.option("--failed", is_flag=True, help="Reopen every failed stage.")
def retry(words: tuple[str, ...], store_uri: str, failed: bool) -> None:
    """Reopen failed stages: forget their errors and attempts, so that the next run retries them."""
    from ssl_sweep.sweep.errors import UsageError
    from ssl_sweep.sweep.inspect.lookup import read_words
    from ssl_sweep.sweep.inspect.retry import failed_stages, reopen

    scope, ids = read_words(words, store_uri)
    if bool(ids) == failed:
        raise UsageError("name the stages to reopen, or give --failed to reopen all that failed")
    reopened = reopen(scope, failed_stages(scope) if failed else map(scope.find, ids))
    for one in reopened:
        what = f"{one.target.stage} {one.target.id} ({one.failure.kind}, attempt {one.failure.attempt})"
        waiting = f"; it blocks {one.waiting} stages" if one.waiting else ""
        click.echo(f"reopened {what}{waiting}")
    grid = scope.plan.sweep if scope.plan else ""
    again = f"the next run of {grid or 'a grid that needs them'} retries them and does what they block"
    click.echo(again if reopened else "no stage failed", err=True)


@click.command()
@_words
@store_option
@json_option
def explain(words: tuple[str, ...], store_uri: str, as_json: bool) -> None:
    """Show what a stage or cell is, why it ran or waits, what it needs and what needs it."""
    from ssl_sweep.sweep.inspect.explain import explain as explained

    show(explained(*_one(words, store_uri)), _print_explanation, as_json)


def _one(words: tuple[str, ...], store_uri: str) -> tuple[Scope, Target]:
    """The store and plan to search, and the one stage or cell that is named."""
    from ssl_sweep.sweep.errors import UsageError
    from ssl_sweep.sweep.inspect.lookup import read_words
    from ssl_sweep.sweep.planning.notes import unprepared

    scope, ids = read_words(words, store_uri)
    if scope.plan is not None:
        remark(unprepared(scope.plan.prepares, scope.plan.notes))
    if len(ids) != 1:
        raise UsageError(
            f"{len(ids)} ids are given", hint="give the id of one stage or cell, with or without its grid"
        )
    return scope, scope.find(ids[0])


COMMANDS = (logs, retry, explain)


def _print_explanation(found: Explanation, out: Console) -> None:
    """What it is, its state and the reason, settings, what it needs, what needs it, files, time."""
    from rich.markup import escape
    from rich.tree import Tree

    from ssl_sweep.sweep.cost.estimate import size_text
    from ssl_sweep.sweep.run.progress import duration

    def line(name: str, text: str) -> None:
        out.print(f"[bold]{name:<11}[/bold] {escape(text)}", soft_wrap=True)

    if found.cell:
        line("cell", f"{found.cell}, the result of {found.stage} {found.id}")
    line("stage", f"{found.stage} {found.id}" + (f"  {found.label}" if found.label else ""))
    line("is", found.what)
    line("state", found.state.replace("_", " "))
    line("why", found.why)
    if found.failure is not None:
        line("next", f"see `ssl-sweep logs {found.id}`, fix the cause, then run the sweep again")
    for i, (path, value) in enumerate(found.settings.items()):
        line("settings" if i == 0 else "", f"{path} = {_shown(value)}")
    if not found.settings:
        line("settings", "unknown")
    if found.upstream:
        tree = Tree("[bold]needs[/bold]")
        _grow(tree, found.upstream)
        out.print(tree, soft_wrap=True)
    for i, one in enumerate(found.dependants[:_RELATIVES_SHOWN]):
        line("needed by" if i == 0 else "", _named(one))
    below = ", ".join(f"{n:,} {stage}" for stage, n in found.downstream.items())
    cells = f"; cells: {len(found.cells):,}" if found.cells else ""
    line("below it", (below or "nothing") + cells)
    for i, (name, size) in enumerate(found.files.items()):
        line("files" if i == 0 else "", f"{name}  {size_text(size)}")
    if (run := found.run) is not None:
        place = " · ".join(
            filter(None, [run.host, run.device, run.hardware, run.mode, f"workers: {run.workers}"])
        )
        line("ran", f"{run.started} for {duration(run.seconds)} on {place}")
        line("with", ", ".join(f"{name} {version}" for name, version in run.versions.items()) or "unknown")


def _grow(tree: Tree, relatives: Iterable[Relative]) -> None:
    from rich.markup import escape

    for one in relatives:
        _grow(tree.add(f"[{_COLOURS[one.state]}]{escape(_named(one))}[/]"), one.upstream)


def _named(one: Relative) -> str:
    return f"{one.stage} {one.id} ({one.state.replace('_', ' ')})  {one.label}"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
