"""Declares ``ssl-sweep data …``, the commands on datasets."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import click

from ssl_sweep.sweep.commands.options import (
    console,
    grid_argument,
    json_option,
    name_argument,
    overrides_argument,
    show,
    store_option,
)


@click.group()
def data() -> None:
    """List, inspect, check and prepare the datasets of a grid."""


@data.command("list")
@click.argument("grid", type=click.Path(path_type=Path), required=False)
@overrides_argument
@store_option
@json_option
def data_list(grid: Path | None, overrides: tuple[str, ...], store_uri: str, as_json: bool) -> None:
    """List the datasets of a grid, or without a grid the kinds of sources and the embedded domains."""
    from ssl_sweep.sweep.commands.render_data import print_found
    from ssl_sweep.sweep.datasets.commands import list_datasets, list_sources

    show(list_datasets(grid, overrides, store_uri) if grid else list_sources(), print_found, as_json)


@data.command("inspect")
@grid_argument
@name_argument
@overrides_argument
@store_option
@json_option
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write a PNG of some images.")
def data_inspect(
    grid: Path, name: str, overrides: tuple[str, ...], store_uri: str, as_json: bool, output: Path | None
) -> None:
    """Show the counts, classes, image sizes and exact copies of one dataset."""
    from ssl_sweep.sweep.commands.render import progress_bars
    from ssl_sweep.sweep.commands.render_data import print_found
    from ssl_sweep.sweep.datasets.inspect import inspect_dataset
    from ssl_sweep.sweep.planning.outputs import require_outside_images

    if output is not None:
        require_outside_images(grid, overrides, output, "the picture", "-o")
    with progress_bars(console(stderr=True)) as on_progress:
        found = inspect_dataset(grid, overrides, store_uri, name, output, on_progress)
    show(found, print_found, as_json)


@data.command("prepare")
@grid_argument
@click.argument("names", nargs=-1, metavar="[NAME | KEY=VALUE]...")
@store_option
@json_option
def data_prepare(grid: Path, names: tuple[str, ...], store_uri: str, as_json: bool) -> None:
    """Prepare the named datasets, or all of them, as `run` would; it then finds them complete."""
    from ssl_sweep.sweep.commands.render import progress_bars
    from ssl_sweep.sweep.commands.render_data import print_found
    from ssl_sweep.sweep.datasets.commands import prepare_datasets

    with progress_bars(console(stderr=True)) as on_progress:
        found = prepare_datasets(grid, names, store_uri, on_progress)
    show(found, print_found, as_json)


@data.command("check")
@grid_argument
@overrides_argument
@json_option
@click.option(
    "--few", default=10, show_default=True, help="Report classes with fewer training images than this."
)
def data_check(grid: Path, overrides: tuple[str, ...], as_json: bool, few: int) -> None:
    """Decode every image; list bad images, copies, leaks and odd classes. Exits with 1 on a problem."""
    from ssl_sweep.sweep.commands.render import progress_bars
    from ssl_sweep.sweep.commands.render_data import print_found
    from ssl_sweep.sweep.datasets.check import check_datasets

    with progress_bars(console(stderr=True)) as on_progress:
        found = check_datasets(grid, overrides, on_progress, few)
    show(found, print_found, as_json)


@data.command("subset")
@grid_argument
@name_argument
@overrides_argument
@store_option
@click.option("--images", required=True, help="How many images: 500, 50k, 10%, all.")
@click.option("--seed", default=0, show_default=True, help="The subset_seed of the grid.")
@click.option(
    "-o", "--output", type=click.File("w", atomic=True), default="-", help="Write a file instead of stdout."
)
def data_subset(
    grid: Path, name: str, overrides: tuple[str, ...], store_uri: str, images: str, seed: int, output: IO[str]
) -> None:
    """List the ids of a pretraining subset. The first lines of a larger subset are a smaller one."""
    from ssl_sweep.sweep.datasets.commands import export_subset

    ids = export_subset(grid, overrides, store_uri, name, images, seed)
    output.writelines(f"{id}\n" for id in ids)
