"""`ssl-sweep data …`: declares the commands on datasets and renders what they return."""

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
    """Look at the datasets of a grid, check them, prepare them."""


@data.command("list")
@click.argument("grid", type=click.Path(path_type=Path), required=False)
@overrides_argument
@store_option
@json_option
def data_list(grid: Path | None, overrides: tuple[str, ...], store_uri: str, as_json: bool) -> None:
    """Datasets of a grid; without one, the kinds of sources and the embedded domains."""
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
    """Counts, classes, sizes and exact copies of one dataset."""
    from ssl_sweep.sweep.commands.render_data import print_found, progress_on
    from ssl_sweep.sweep.datasets.inspect import inspect_dataset

    with progress_on(console(stderr=True)) as told:
        found = inspect_dataset(grid, overrides, store_uri, name, output, told)
    show(found, print_found, as_json)


@data.command("prepare")
@grid_argument
@click.argument("names", nargs=-1, metavar="[NAME | KEY=VALUE]...")
@store_option
@json_option
def data_prepare(grid: Path, names: tuple[str, ...], store_uri: str, as_json: bool) -> None:
    """Write the store's copy of the named datasets, or of all, as `run` would; it then finds them done."""
    from ssl_sweep.sweep.commands.render_data import print_found, progress_on
    from ssl_sweep.sweep.datasets.commands import prepare_datasets

    with progress_on(console(stderr=True)) as told:
        found = prepare_datasets(grid, names, store_uri, told)
    show(found, print_found, as_json)


@data.command("check")
@grid_argument
@overrides_argument
@json_option
@click.option("--few", default=10, show_default=True, help="Report classes with fewer training images.")
def data_check(grid: Path, overrides: tuple[str, ...], as_json: bool, few: int) -> None:
    """Decode every image; list bad ones, copies, leaks and odd classes. Exits with 1 on a problem."""
    from ssl_sweep.sweep.commands.render_data import print_found, progress_on
    from ssl_sweep.sweep.datasets.check import check_datasets

    with progress_on(console(stderr=True)) as told:
        found = check_datasets(grid, overrides, told, few)
    show(found, print_found, as_json)


@data.command("subset")
@grid_argument
@name_argument
@overrides_argument
@store_option
@click.option("--images", required=True, help="How many: 500, 50k, 10%, all.")
@click.option("--seed", default=0, show_default=True, help="The grid's subset_seed.")
@click.option(
    "-o", "--output", type=click.File("w", atomic=True), default="-", help="File instead of stdout."
)
def data_subset(
    grid: Path, name: str, overrides: tuple[str, ...], store_uri: str, images: str, seed: int, output: IO[str]
) -> None:
    """Ids of the images of a pretraining subset; a smaller one is the first lines of a larger one."""
    from ssl_sweep.sweep.datasets.commands import export_subset

    ids = export_subset(grid, overrides, store_uri, name, images, seed)
    output.writelines(f"{id}\n" for id in ids)
