"""The command line: declares commands and renders what they return. Heavy imports happen inside commands."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

DEFAULT_STORE = "ssl-sweep-store"  # as in sweep.store, which is not imported for --help

store_option = click.option(
    "--store", "store_uri", default=DEFAULT_STORE, show_default=True, help="Where results are kept."
)
tracking_option = click.option(
    "--tracking-uri", default=None, help="MLflow server; default: SQLite inside the store."
)
address_option = click.option(
    "--address", default=None, help="Ray cluster to join (auto, HOST:PORT); default: this machine alone."
)


def grid_arguments(command: Callable[..., Any]) -> Callable[..., Any]:
    """``GRID [KEY=VALUE]...``"""
    command = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")(command)
    return click.argument("grid", type=click.Path(path_type=Path), metavar="GRID")(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ssl-sweep")
def cli() -> None:
    """Does self-supervised pretraining pay on your images?

    Write a grid file, then: ssl-sweep plan GRID (what it takes), ssl-sweep run GRID (do what is missing;
    the same command resumes), ssl-sweep results GRID (the table), ssl-sweep ui (compare in MLflow).
    """


@cli.command()
@grid_arguments
@store_option
@tracking_option
@address_option
def run(
    grid: Path, overrides: tuple[str, ...], store_uri: str, tracking_uri: str | None, address: str | None
) -> None:
    """Train, extract and probe whatever the store lacks; safe to repeat, resumes after a kill."""
    from sweep.listener import listener_for
    from sweep.render import print_run
    from sweep.run import run as run_sweep

    result = run_sweep(
        grid,
        overrides,
        store_uri=store_uri,
        tracking_uri=tracking_uri,
        address=address,
        listener=listener_for(_console(stderr=True)),
    )
    print_run(result, _console(), _console(stderr=True), _again("run", grid, overrides, store_uri))
    sys.exit(result.exit_code)


@cli.command()
@grid_arguments
@store_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def plan(grid: Path, overrides: tuple[str, ...], store_uri: str, as_json: bool) -> None:
    """Show what a run would do and what it would take; starts nothing."""
    from sweep.cost import estimate
    from sweep.plan_grid import plan_grid
    from sweep.render import print_plan
    from sweep.store import Store

    store = Store(store_uri)
    _, planned = plan_grid(grid, overrides, store)
    if as_json:
        click.echo(json.dumps(planned.to_json(), indent=1))
    else:
        print_plan(planned, estimate(planned, store), _console())


@cli.command()
@grid_arguments
def validate(grid: Path, overrides: tuple[str, ...]) -> None:
    """Check a grid file and the sizes of its datasets; prints every problem with its line."""
    from sweep.plan_grid import validate_grid

    click.echo(validate_grid(grid, overrides))


@cli.command()
@grid_arguments
@store_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def status(grid: Path, overrides: tuple[str, ...], store_uri: str, as_json: bool) -> None:
    """Stages by state and what failed, read from the store."""
    from sweep.plan_grid import plan_grid
    from sweep.render import print_status
    from sweep.status import status as status_of
    from sweep.store import Store

    store = Store(store_uri)
    _, planned = plan_grid(grid, overrides, store)
    found = status_of(planned, store)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1))
    else:
        print_status(found, _console())


@cli.command()
@grid_arguments
@store_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    show_default=True,
    help="How to write it.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=None, help="File instead of stdout.")
def results(grid: Path, overrides: tuple[str, ...], store_uri: str, form: str, output: Path | None) -> None:
    """One row per cell and label level; cells that are not done yet have a status instead of numbers."""
    from sweep.plan_grid import plan_grid
    from sweep.render import print_table
    from sweep.results import results as results_of
    from sweep.results import save_results, write_results
    from sweep.store import Store

    store = Store(store_uri)
    _, planned = plan_grid(grid, overrides, store)
    table = results_of(planned, store)
    if form == "table" and output is None:
        print_table(table, _console())
    elif output is None:
        write_results(table, form, sys.stdout.buffer)
    else:
        save_results(table, form, output)


@cli.command()
@grid_arguments
@store_option
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
    from sweep.render import print_check

    console, problems = _console(), 0
    for check in diagnose(store_uri, tracking_uri, address):
        print_check(check, console)
        problems += check.state == "problem"
    sys.exit(1 if problems else 0)


def _console(stderr: bool = False) -> Console:
    """Plain where the output is no terminal or NO_COLOR is set (rich looks at both)."""
    from sweep.render import console_on

    return console_on(sys.stderr if stderr else sys.stdout)


def _again(command: str, grid: Path, overrides: tuple[str, ...], store_uri: str) -> list[str]:
    """The arguments that name this sweep again, for hints."""
    store = [] if store_uri == DEFAULT_STORE else ["--store", store_uri]
    return ["ssl-sweep", command, str(grid), *overrides, *store]


def main() -> None:
    """The console script: an error a person can mend is a message and an exit code, never a traceback."""
    from sweep.errors import SweepError

    try:
        cli(standalone_mode=False)
    except SweepError as error:
        click.echo(f"error: {error}" if "\n" not in str(error) else str(error), err=True)
        if error.hint:
            click.echo(f"hint: {error.hint}", err=True)
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
