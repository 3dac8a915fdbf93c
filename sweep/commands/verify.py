"""``ssl-sweep verify``: compare the store's files with their checksums."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ssl_sweep.sweep.commands.options import console, json_option, overrides_argument, show, store_option

if TYPE_CHECKING:
    from rich.console import Console

    from ssl_sweep.sweep.inspect.verify import Verified


@click.command()
@click.argument("grid", type=click.Path(path_type=Path), required=False)
@overrides_argument
@store_option
@click.option("--repair", is_flag=True, help="Withdraw damaged stages, so that the next run does them again.")
@json_option
def verify(
    grid: Path | None, overrides: tuple[str, ...], store_uri: str, repair: bool, as_json: bool
) -> None:
    """Read every file of the finished stages of a grid, or of the whole store, and compare checksums."""
    from ssl_sweep.sweep.commands.render import progress_bars
    from ssl_sweep.sweep.inspect.verify import verify as verify_store

    with progress_bars(console(stderr=True)) as on_progress:
        found = verify_store(
            store_uri,
            grid,
            overrides,
            repair=repair,
            on_progress=lambda done, total: on_progress("stages", done, total),
        )
    show(found, _print, as_json)


def _print(found: Verified, out: Console) -> None:
    for damage in found.damages:
        out.print(f"damaged: {damage.file} {damage.what}", markup=False, highlight=False, soft_wrap=True)
    checked = f"{found.stages:,} finished stages, {found.files:,} files, {found.bytes / 1e6:,.1f} MB"
    old = f"; {found.without_checksum:,} files have no checksum" if found.without_checksum else ""
    sound = "no damage" if found.stages else "nothing to compare"
    verdict = f"{len(found.damages):,} damaged files" if found.damages else sound
    out.print(f"{checked}: {verdict}{old}", markup=False, highlight=False, soft_wrap=True)
    if found.withdrawn:
        out.print(f"{len(found.withdrawn):,} stages withdrawn: the next run does them again", highlight=False)
    for why in found.stuck:
        out.print(why, markup=False, highlight=False, soft_wrap=True)
    if found.damages and not (found.withdrawn or found.stuck):
        out.print(
            "--repair withdraws the damaged stages, so that the next run does them again", highlight=False
        )
