"""The command line: declares commands and renders what they return. Heavy imports happen inside commands."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

DEFAULT_STORE = "ssl-sweep-store"  # as in sweep.store, which is not imported for --help
FORMATS = ("table", "csv", "json", "parquet")

grid_argument = click.argument("grid", type=click.Path(path_type=Path))
name_argument = click.argument("name")
overrides_argument = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
store_option = click.option(
    "--store", "store_uri", default=DEFAULT_STORE, show_default=True, help="Where results are kept."
)
tracking_option = click.option("--tracking-uri", help="MLflow server; default: SQLite inside the store.")
address_option = click.option("--address", help="Ray cluster (auto, HOST:PORT); default: this machine alone.")
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ssl-sweep")
def cli() -> None:
    """Does self-supervised pretraining pay on your images?

    Write a grid file (ssl-sweep init has whole studies), then: ssl-sweep data check GRID (are the images
    sound?), ssl-sweep plan GRID (what it takes), ssl-sweep run GRID (do what is missing; the same command
    resumes), ssl-sweep results GRID (the table), ssl-sweep report GRID -o DIR (figures and findings),
    ssl-sweep ui (compare in MLflow).
    """


def grid_command(function: Callable[..., None]) -> click.Command:
    """A command on a grid, its overrides and a store."""
    return cli.command()(grid_argument(overrides_argument(store_option(function))))


@cli.command()
@click.option("--study", help="Which one; without it they are listed.")
@click.option("-o", "--output", help="The grid to write (default STUDY.yaml); - is stdout.")
@click.option("--force", is_flag=True, help="Overwrite it.")
def init(study: str | None, output: str | None, force: bool) -> None:
    """Write the commented grid of a whole study, to run as it is or with your own images."""
    from sweep.init import STUDIES, preset, question, write_preset

    if study is None:
        width = max(map(len, STUDIES))
        click.echo("\n".join(f"{name:<{width}}  {question(name)}" for name in STUDIES))
    elif output == "-":
        click.echo(preset(study), nl=False)
    else:
        written = write_preset(study, Path(output or f"{study}.yaml"), force=force)
        click.echo(f"{written} is written; next: ssl-sweep plan {written}", err=True)


@grid_command
@tracking_option
@address_option
def run(
    grid: Path, overrides: tuple[str, ...], store_uri: str, tracking_uri: str | None, address: str | None
) -> None:
    """Train, extract and probe whatever the store lacks; safe to repeat, resumes after a kill."""
    from sweep.listener import listener_for
    from sweep.render import again, print_run
    from sweep.run import run as run_sweep

    result = run_sweep(
        grid,
        overrides,
        store_uri=store_uri,
        tracking_uri=tracking_uri,
        address=address,
        listener=listener_for(_console(stderr=True)),
    )
    print_run(result, _console(), _console(stderr=True), again("run", grid, overrides, store_uri))
    sys.exit(result.exit_code)


@grid_command
@json_option
def plan(grid: Path, overrides: tuple[str, ...], store_uri: str, as_json: bool) -> None:
    """Show what a run would do and what it would take; starts nothing."""
    from sweep.cost import estimate
    from sweep.plan_grid import plan_in
    from sweep.render import print_plan

    planned, store = plan_in(grid, overrides, store_uri)
    _show(planned, lambda found, out: print_plan(found, estimate(found, store), out), as_json)


@cli.command()
@grid_argument
@overrides_argument
def validate(grid: Path, overrides: tuple[str, ...]) -> None:
    """Check a grid file and the sizes of its datasets; prints every problem with its line."""
    from sweep.plan_grid import validate_grid

    click.echo(validate_grid(grid, overrides))


@grid_command
@json_option
def status(grid: Path, overrides: tuple[str, ...], store_uri: str, as_json: bool) -> None:
    """Stages by state and what failed, read from the store."""
    from sweep.plan_grid import plan_in
    from sweep.render import print_status
    from sweep.status import status as status_of

    planned, store = plan_in(grid, overrides, store_uri)
    _show(status_of(planned, store), print_status, as_json)


@grid_command
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File instead of stdout.")
@click.option("--per-class", is_flag=True, help="A row per class as well: test images and those found.")
def results(
    grid: Path, overrides: tuple[str, ...], store_uri: str, form: str, output: Path | None, per_class: bool
) -> None:
    """One row per cell and label level; cells that are not done yet have a status instead of numbers."""
    from sweep.evidence import results_with_evidence
    from sweep.per_class import results_per_class
    from sweep.plan_grid import plan_in
    from sweep.render import show_results
    from sweep.results import results as results_of

    planned, store = plan_in(grid, overrides, store_uri)
    whole = results_with_evidence if form == "parquet" else results_of
    table = (results_per_class if per_class else whole)(planned, store)
    show_results(table, form, output, _console())


@cli.command()
@click.argument("source", type=click.Path(path_type=Path), metavar="GRID|RESULTS.parquet")
@overrides_argument
@store_option
@tracking_option
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to write into.")
@click.option("--compare", type=click.Choice(["paper"]), help="Show the published numbers beside one's own.")
def report(
    source: Path,
    overrides: tuple[str, ...],
    store_uri: str,
    tracking_uri: str | None,
    output: Path,
    compare: str | None,
) -> None:
    """Write report.html, findings.md and the figures of a sweep, finished or not."""
    from sweep.report.command import report_of

    click.echo(
        report_of(source, overrides, store_uri, tracking_uri, output, compare_paper=compare == "paper")
    )


@grid_command
@tracking_option
def sync(grid: Path, overrides: tuple[str, ...], store_uri: str, tracking_uri: str | None) -> None:
    """Write to MLflow whatever the store holds and MLflow lacks."""
    from sweep.mirror import sync_grid

    written = sync_grid(grid, overrides, store_uri, tracking_uri)
    click.echo(f"{written} runs written")


@cli.command()
@store_option
@tracking_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Interface to listen on.")
@click.option("--port", default=5000, show_default=True, help="Port.")
def ui(store_uri: str, tracking_uri: str | None, host: str, port: int) -> None:
    """Start the MLflow UI on the sweep's runs; reachable from this machine only by default."""
    from sweep.mirror import ui_command

    command = ui_command(store_uri, tracking_uri, host, port)
    click.echo(f"MLflow UI on http://{host}:{port} (Ctrl-C ends it)", err=True)
    os.execv(command[0], command)


@cli.command()
def schema() -> None:
    """Print the JSON Schema of grid files, for editors."""
    from sweep.grid_model import grid_schema

    click.echo(json.dumps(grid_schema(), indent=2))


@cli.command()
@store_option
@tracking_option
@address_option
def doctor(store_uri: str, tracking_uri: str | None, address: str | None) -> None:
    """Check packages, GPU, DALI, store, tracking server and Ray."""
    from sweep.doctor import diagnose
    from sweep.render import print_checks

    sys.exit(print_checks(diagnose(store_uri, tracking_uri, address), _console()))


@cli.command()
@click.argument("encoder_id")
@store_option
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="A .safetensors file.")
def export(encoder_id: str, store_uri: str, output: Path) -> None:
    """Write an encoder's weights, and a card beside them, for plain torchvision or timm."""
    from sweep.export import export_encoder

    click.echo(export_encoder(encoder_id, store_uri, output))


@cli.group()
def data() -> None:
    """Look at the datasets of a grid, check them, prepare them."""


@data.command("list")
@click.argument("grid", type=click.Path(path_type=Path), required=False)
@overrides_argument
@store_option
@json_option
def data_list(grid: Path | None, overrides: tuple[str, ...], store_uri: str, as_json: bool) -> None:
    """Datasets of a grid; without one, the kinds of sources and the embedded domains."""
    from sweep.data_commands import list_datasets, list_sources
    from sweep.render_data import print_found

    _show(list_datasets(grid, overrides, store_uri) if grid else list_sources(), print_found, as_json)


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
    from sweep.data_inspect import inspect_dataset
    from sweep.render_data import print_found, progress_on

    with progress_on(_console(stderr=True)) as told:
        found = inspect_dataset(grid, overrides, store_uri, name, output, told)
    _show(found, print_found, as_json)


@data.command("prepare")
@grid_argument
@click.argument("names", nargs=-1, metavar="[NAME | KEY=VALUE]...")
@store_option
@json_option
def data_prepare(grid: Path, names: tuple[str, ...], store_uri: str, as_json: bool) -> None:
    """Write the store's copy of the named datasets, or of all, as `run` would; it then finds them done."""
    from sweep.data_commands import prepare_datasets
    from sweep.render_data import print_found, progress_on

    with progress_on(_console(stderr=True)) as told:
        found = prepare_datasets(grid, names, store_uri, told)
    _show(found, print_found, as_json)


@data.command("check")
@grid_argument
@overrides_argument
@json_option
@click.option("--few", default=10, show_default=True, help="Report classes with fewer training images.")
def data_check(grid: Path, overrides: tuple[str, ...], as_json: bool, few: int) -> None:
    """Decode every image; list bad ones, copies, leaks and odd classes. Exits with 1 on a problem."""
    from sweep.data_check import check_datasets
    from sweep.render_data import print_found, progress_on

    with progress_on(_console(stderr=True)) as told:
        found = check_datasets(grid, overrides, told, few)
    _show(found, print_found, as_json)


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
    from sweep.data_commands import export_subset

    ids = export_subset(grid, overrides, store_uri, name, images, seed)
    output.writelines(f"{id}\n" for id in ids)


def _show(found: Any, printer: Callable[[Any, Console], None], as_json: bool) -> None:
    """On stdout, for a person or a program; the exit code is what was found."""
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1))
    else:
        printer(found, _console())
    sys.exit(getattr(found, "exit_code", 0))


def _console(stderr: bool = False) -> Console:
    """Plain where the output is no terminal or NO_COLOR is set (rich looks at both)."""
    from sweep.render import console_on

    return console_on(sys.stderr if stderr else sys.stdout)


def main() -> None:
    """The console script: an error a person can mend is a message and an exit code, never a traceback."""
    from sweep.errors import SweepError

    try:
        cli(standalone_mode=False)
    except SweepError as error:
        click.echo(error.report(), err=True)
        sys.exit(error.exit_code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; the same command goes on from the last checkpoints", err=True)
        sys.stderr.flush()
        os._exit(130)
    except BrokenPipeError:
        os._exit(141)


if __name__ == "__main__":
    main()
