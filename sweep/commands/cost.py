"""Commands and options about cost: ``plan``, ``calibrate``, ``gc``, limits, and the cluster to plan for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from ssl_sweep.sweep.commands.options import (
    address_option,
    console,
    grid_argument,
    json_option,
    overrides_argument,
    show,
    store_option,
)

if TYPE_CHECKING:
    from rich.console import Console

    from ssl_sweep.sweep.cost.estimate import Costed
    from ssl_sweep.sweep.cost.rates import Calibration
    from ssl_sweep.sweep.execution.backend import Cluster
    from ssl_sweep.sweep.inspect.garbage import Garbage

F = TypeVar("F", bound=Callable[..., object])
_POSITIVE = click.FloatRange(min=0, min_open=True)


def limit_options(function: F) -> F:
    """--max-gpu-hours, --max-cost and --priority."""
    for option in (
        click.option(
            "--priority",
            multiple=True,
            metavar="AXIS=VALUE[,…]",
            help="Do matching cells first, for example eval_domain=birds. Repeatable; the first counts most.",
        ),
        click.option(
            "--max-cost", type=_POSITIVE, help="The same limit in money, at the price that plan shows."
        ),
        click.option(
            "--max-gpu-hours",
            type=_POSITIVE,
            help="Refuse a run that needs more GPU-hours; stop at the limit. Without a GPU: core-hours.",
        ),
    ):
        function = option(function)
    return function


def cluster_options(function: F) -> F:
    """--cpus and --gpus: the cluster to plan for."""
    for option in (
        click.option(
            "--gpus", type=click.FloatRange(min=0), help="GPUs to plan for. Default: this machine's."
        ),
        click.option("--cpus", type=_POSITIVE, help="CPU cores to plan for. Default: this machine's."),
    ):
        function = option(function)
    return function


@click.command()
@grid_argument
@overrides_argument
@store_option
@address_option
@cluster_options
@json_option
def plan(
    grid: Path,
    overrides: tuple[str, ...],
    store_uri: str,
    address: str | None,
    cpus: float | None,
    gpus: float | None,
    as_json: bool,
) -> None:
    """Show what a run would do and what it would cost; starts nothing."""
    from ssl_sweep.sweep.util.collection import without_gc

    def join(address: str) -> AbstractContextManager[Cluster]:
        from ssl_sweep.sweep.cluster.connect import connect

        return connect(address)

    def printer(found: Costed, out: Console) -> None:
        from ssl_sweep.sweep.commands.render import print_plan

        print_plan(found, out)

    with without_gc():
        from ssl_sweep.sweep.cost.estimate import costed

        show(costed(grid, overrides, store_uri, cpus, gpus, address, join), printer, as_json)


@click.command()
@grid_argument
@overrides_argument
@store_option
@address_option
@click.option(
    "--seconds", default=12.0, show_default=True, type=_POSITIVE, help="Seconds per kind of training."
)
@click.option("--again", is_flag=True, help="Measure again what already has a rate.")
def calibrate(
    grid: Path,
    overrides: tuple[str, ...],
    store_uri: str,
    address: str | None,
    seconds: float,
    again: bool,
) -> None:
    """Measure step times on this machine so that `plan` can use them; needs no images."""
    from ssl_sweep.sweep.cluster.calibrate import ray_crew
    from ssl_sweep.sweep.cost.calibrate import calibrate_grid

    found = calibrate_grid(
        grid,
        overrides,
        store_uri,
        address,
        seconds=seconds,
        again=again,
        say=lambda text: click.echo(text, err=True),
        crew_at=ray_crew,
    )
    _print_calibrations(found, console())


@click.command()
@click.argument("grids", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="GRID...")
@store_option
@click.option("--delete", is_flag=True, help="Delete instead of listing.")
@click.option("--features", is_flag=True, help="Also features that no remaining stage needs.")
@click.option("--data", is_flag=True, help="Also prepared datasets that no grid names.")
@json_option
def gc(
    grids: tuple[Path, ...], store_uri: str, delete: bool, features: bool, data: bool, as_json: bool
) -> None:
    """List, or delete, what the store holds and none of these grids needs."""
    from ssl_sweep.sweep.inspect.garbage import collect

    show(collect(grids, store_uri, delete=delete, features=features, data=data), _print_garbage, as_json)


def _print_calibrations(found: Sequence[Calibration], out: Console) -> None:
    """A row per kind of training and hardware."""
    from rich.markup import escape
    from rich.table import Table

    if not found:
        out.print("nothing to measure: every training has a rate on this hardware (--again measures anyway)")
        return
    table = Table("training", "hardware", box=None, pad_edge=False)
    for name in ("copies", "steps", "ms/step", "images/s", "ms/epoch end", "ms/checkpoint"):
        table.add_column(name, justify="right")
    for each in found:
        table.add_row(
            each.shape.label,
            escape(each.shape.hardware),
            str(each.copies),
            str(each.steps),
            f"{1000 * each.step_s:,.1f}",
            f"{each.shape.batch / each.step_s:,.0f}",
            f"{1000 * each.epoch_s:,.1f}",
            f"{1000 * each.checkpoint_s:,.1f}",
        )
    out.print(table)


def _print_garbage(found: Garbage, out: Console) -> None:
    """What no grid needs: a row per kind."""
    from rich.markup import escape
    from rich.table import Table

    from ssl_sweep.sweep.cost.estimate import size_text

    table = Table("what", box=None, pad_edge=False)
    table.add_column("number", justify="right")
    table.add_column("size", justify="right")
    for kind in found.kinds:
        table.add_row(kind.name, f"{kind.count:,}", size_text(kind.bytes))
    if found.kinds:
        out.print(table)
    for line in found.notes:
        out.print(escape(line))
