"""``ssl-sweep migrate``: keep finished work when the form of the ids changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ssl_sweep.sweep.commands.options import console, json_option, show

if TYPE_CHECKING:
    from rich.console import Console

    from ssl_sweep.sweep.inspect.migrate import Migrated


@click.command()
@click.argument("store")
@json_option
def migrate(store: str, as_json: bool) -> None:
    """Give the finished stages of a STORE made by an earlier version the ids that grids ask for now.

    Results and numbers stay as they are. Stages that cannot be mapped are listed and keep their old ids.
    """
    from ssl_sweep.sweep.commands.render import progress_bars
    from ssl_sweep.sweep.inspect.migrate import migrate as migrate_store

    with progress_bars(console(stderr=True)) as on_progress:
        found = migrate_store(store, lambda done, total: on_progress("stages", done, total))
    show(found, _print, as_json)


def _print(found: Migrated, out: Console) -> None:
    for kept in found.kept:
        out.print(f"{kept.stage} {kept.id} keeps its old id: {kept.reason}", markup=False, soft_wrap=True)
    kinds = ", ".join(f"{count:,} {stage}" for stage, count in found.moved.items())
    moved = f"{sum(found.moved.values()):,} stages have new ids ({kinds})" if kinds else "nothing to migrate"
    left = f"; {len(found.kept):,} could not be mapped" if found.kept else ""
    out.print(moved + left, highlight=False)
