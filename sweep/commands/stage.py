"""`ssl-sweep logs`, `retry`, `explain`: declares the commands on single stages and renders what they find."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ssl_sweep.sweep.commands.options import in_store, json_option, show, store_option

if TYPE_CHECKING:
    from ssl_sweep.sweep.inspect.lookup import Scope, Target

_words = click.argument("words", nargs=-1, required=True, metavar="[GRID] [KEY=VALUE]... ID")


@click.command()
@_words
@store_option
@click.option("-f", "--follow", is_flag=True, help="Go on until the stage ends.")
def logs(words: tuple[str, ...], store_uri: str, follow: bool) -> None:
    """The log of a stage or cell, named by its id or the first letters of it, and how it failed."""
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
        click.echo("next: mend it, then ssl-sweep run the grid again", err=True)
    elif not shown:
        more = f"ssl-sweep explain {target.id}{in_store(store_uri)}"
        click.echo(f"{target.stage} {target.id} left no log; {more}", err=True)


@click.command()
@click.argument("words", nargs=-1, metavar="[GRID] [KEY=VALUE]... [ID]...")
@store_option
@click.option("--failed", is_flag=True, help="Every stage that failed.")
def retry(words: tuple[str, ...], store_uri: str, failed: bool) -> None:
    """Reopen failed stages: their errors and attempts are forgotten, the next run does them again."""
    from ssl_sweep.sweep.errors import UsageError
    from ssl_sweep.sweep.inspect.lookup import read_words
    from ssl_sweep.sweep.inspect.retry import failed_stages, reopen

    scope, ids = read_words(words, store_uri)
    if bool(ids) == failed:
        raise UsageError("name the stages to reopen, or give --failed for all of them")
    reopened = reopen(scope, failed_stages(scope) if failed else map(scope.find, ids))
    for one in reopened:
        what = f"{one.target.stage} {one.target.id} ({one.failure.kind}, attempt {one.failure.attempt})"
        waiting = f"; {one.waiting} stages wait for it" if one.waiting else ""
        click.echo(f"reopened {what}{waiting}")
    grid = scope.plan.sweep if scope.plan else ""
    again = f"the next run of {grid or 'a grid that needs them'} does them again, and what waits for them"
    click.echo(again if reopened else "nothing failed", err=True)


@click.command()
@_words
@store_option
@json_option
def explain(words: tuple[str, ...], store_uri: str, as_json: bool) -> None:
    """What a stage or cell is, why it ran or waits, what it came from and what rests on it."""
    from ssl_sweep.sweep.commands.render_stage import print_explanation
    from ssl_sweep.sweep.inspect.explain import explain as explained

    show(explained(*_one(words, store_uri)), print_explanation, as_json)


def _one(words: tuple[str, ...], store_uri: str) -> tuple[Scope, Target]:
    """Where to look, and the one stage or cell that is named."""
    from ssl_sweep.sweep.errors import UsageError
    from ssl_sweep.sweep.inspect.lookup import read_words

    scope, ids = read_words(words, store_uri)
    if len(ids) != 1:
        raise UsageError(f"{len(ids)} ids are named", hint="name one stage or cell, and its grid if you like")
    return scope, scope.find(ids[0])


COMMANDS = (logs, retry, explain)
