"""Commands and options around what a sweep costs: calibrate, gc, limits, the cluster that a plan is for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

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

F = TypeVar("F", bound=Callable[..., object])
_POSITIVE = click.FloatRange(min=0, min_open=True)


def limit_options(function: F) -> F:
    """--max-gpu-hours, --max-cost and --priority."""
    for option in (
        click.option(
            "--priority",
            multiple=True,
            metavar="AXIS=VALUE[,…]",
            help="What fits goes first, as eval_domain=birds; repeatable, the first counts most.",
        ),
        click.option(
            "--max-cost", type=_POSITIVE, help="As --max-gpu-hours, in money by the price that plan shows."
        ),
        click.option(
            "--max-gpu-hours",
            type=_POSITIVE,
            help="Refuse what would take more, stop cleanly when it is spent; core-hours without a GPU.",
        ),
    ):
        function = option(function)
    return function


def cluster_options(function: F) -> F:
    """--cpus and --gpus: the cluster to plan for."""
    for option in (
        click.option(
            "--gpus", type=click.FloatRange(min=0), help="GPUs to plan for; default: this machine's."
        ),
        click.option("--cpus", type=_POSITIVE, help="CPU cores to plan for; default: this machine's."),
    ):
        function = option(function)
    return function


@click.command()
@grid_argument
@overrides_argument
@store_option
@address_option
@click.option("--seconds", default=12.0, show_default=True, type=_POSITIVE, help="Time for each shape.")
@click.option("--again", is_flag=True, help="Also what has a rate already.")
def calibrate(
    grid: Path,
    overrides: tuple[str, ...],
    store_uri: str,
    address: str | None,
    seconds: float,
    again: bool,
) -> None:
    """Measure how long this machine's steps take, for every kind of training in the grid; needs no images."""
    from ssl_sweep.sweep.cluster.calibrate import ray_crew
    from ssl_sweep.sweep.commands.render_cost import print_calibrations
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
    print_calibrations(found, console())


@click.command()
@click.argument("grids", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="GRID...")
@store_option
@click.option("--delete", is_flag=True, help="Delete it; without this it is only listed.")
@click.option("--features", is_flag=True, help="Also features that no stage left to run needs.")
@click.option("--data", is_flag=True, help="Also prepared datasets that no grid names.")
@json_option
def gc(
    grids: tuple[Path, ...], store_uri: str, delete: bool, features: bool, data: bool, as_json: bool
) -> None:
    """List, or delete, what is in the store and belongs to none of these grids."""
    from ssl_sweep.sweep.commands.render_cost import print_garbage
    from ssl_sweep.sweep.inspect.garbage import collect

    show(collect(grids, store_uri, delete=delete, features=features, data=data), print_garbage, as_json)
