"""The command line: declares commands and shows what they return. Heavy imports happen inside commands."""

from __future__ import annotations

from ssl_sweep.sweep.util.search_path import installed_first

installed_first()  # before any other import

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from ssl_sweep.sweep.commands.cluster import run_on_head, submit, words
from ssl_sweep.sweep.commands.cost import calibrate, gc, limit_options, plan
from ssl_sweep.sweep.commands.data import data
from ssl_sweep.sweep.commands.migrate import migrate
from ssl_sweep.sweep.commands.options import (
    FORMATS,
    accept_verbose,
    address_option,
    console,
    grid_argument,
    in_store,
    json_option,
    overrides_argument,
    remark,
    show,
    store_option,
    tracking_option,
)
from ssl_sweep.sweep.commands.stage import COMMANDS
from ssl_sweep.sweep.commands.verify import verify


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ssl-sweep")
def cli() -> None:
    """Does self-supervised pretraining pay on your images?

    Write a grid file (ssl-sweep init has whole studies), then use: ssl-sweep data check GRID (check the
    images), ssl-sweep plan GRID (what a run would do and cost), ssl-sweep run GRID (do what is missing; the
    same command resumes), ssl-sweep results GRID (the table), ssl-sweep report GRID -o DIR (figures and
    findings), ssl-sweep ui (compare in MLflow).
    """


def grid_command(function: Callable[..., None]) -> click.Command:
    """Declare a command on a grid, its overrides and a store."""
    return cli.command()(grid_argument(overrides_argument(store_option(function))))


@cli.command()
@click.option("--study", help="Name of the study; without it, list them.")
@click.option("-o", "--output", help="Grid file to write; - is stdout. Default: STUDY.yaml.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def init(study: str | None, output: str | None, force: bool) -> None:
    """Write the commented grid of a whole study. Run it as it is, or with your own images."""
    from ssl_sweep.sweep.grid.studies import STUDIES, preset, question, write_preset

    if study is None:
        width = max(map(len, STUDIES))
        click.echo("\n".join(f"{name:<{width}}  {question(name)}" for name in STUDIES))
    elif output == "-":
        click.echo(preset(study), nl=False)
    else:
        written = write_preset(study, Path(output or f"{study}.yaml"), force=force)
        click.echo(f"wrote {written}; next: ssl-sweep plan {written}", err=True)


@grid_command
@tracking_option
@address_option
@limit_options
@click.option(
    "--notify",
    envvar="SSL_SWEEP_NOTIFY",
    metavar="COMMAND|URL",
    help="Command (JSON on stdin) or webhook (POST) to notify when the run ends.",
)
def run(
    grid: Path,
    overrides: tuple[str, ...],
    store_uri: str,
    tracking_uri: str | None,
    address: str | None,
    max_gpu_hours: float | None,
    max_cost: float | None,
    priority: tuple[str, ...],
    notify: str | None,
) -> None:
    """Do whatever the store lacks. Safe to repeat; resumes after an interruption."""
    from ssl_sweep.sweep.commands.render import again, print_run
    from ssl_sweep.sweep.cost.limits import Limits
    from ssl_sweep.sweep.run.notify import notified
    from ssl_sweep.sweep.run.priority import Priority
    from ssl_sweep.sweep.run.progress import listener_for
    from ssl_sweep.sweep.run.run import run as run_sweep

    if address and address.startswith("ray://"):
        options = words(max_gpu_hours, max_cost, priority)
        sys.exit(run_on_head(grid, overrides, store_uri, tracking_uri, address, options, notify))
    result = notified(
        notify,
        lambda: run_sweep(
            grid,
            overrides,
            store_uri=store_uri,
            tracking_uri=tracking_uri,
            address=address,
            listener=listener_for(console(stderr=True)),
            limits=Limits(gpu_hours=max_gpu_hours, cost=max_cost),
            priorities=[Priority.parse(text) for text in priority],
        ),
        lambda text: click.echo(text, err=True),
    )
    print_run(result, console(), console(stderr=True), again("run", grid, overrides, store_uri), tracking_uri)
    sys.exit(result.exit_code)


@cli.command()
@grid_argument
@overrides_argument
def validate(grid: Path, overrides: tuple[str, ...]) -> None:
    """Check a grid file and the sizes of its datasets; print every problem with its line."""
    from ssl_sweep.sweep.planning.planner import validate_grid

    click.echo(validate_grid(grid, overrides))


@grid_command
@json_option
def status(grid: Path, overrides: tuple[str, ...], store_uri: str, as_json: bool) -> None:
    """Show the stages by state, and what failed, from the store."""
    from ssl_sweep.sweep.commands.render import print_status
    from ssl_sweep.sweep.planning.notes import unprepared
    from ssl_sweep.sweep.planning.planner import plan_ran
    from ssl_sweep.sweep.results.status import status as status_of

    planned, store = plan_ran(grid, overrides, store_uri)
    where = in_store(store_uri)
    remark(unprepared(planned.prepares, planned.notes))
    show(status_of(planned, store), lambda found, out: print_status(found, out, where), as_json)


@grid_command
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write a file instead of stdout.")
@click.option(
    "--per-class",
    is_flag=True,
    help="One row per class: its test images, and how many were predicted correctly.",
)
def results(
    grid: Path, overrides: tuple[str, ...], store_uri: str, form: str, output: Path | None, per_class: bool
) -> None:
    """Show one row per cell and label level. Cells that are not done have a status instead of numbers."""
    from ssl_sweep.sweep.commands.render import show_results
    from ssl_sweep.sweep.planning.notes import unprepared
    from ssl_sweep.sweep.planning.outputs import require_outside_images
    from ssl_sweep.sweep.planning.planner import plan_ran
    from ssl_sweep.sweep.results.predictions import results_per_class
    from ssl_sweep.sweep.results.report_table import results_with_evidence
    from ssl_sweep.sweep.results.table import results as results_of

    if output is not None:
        require_outside_images(grid, overrides, output, "the table", "-o")
    planned, store = plan_ran(grid, overrides, store_uri)
    whole = results_with_evidence if form == "parquet" else results_of
    table = (results_per_class if per_class else whole)(planned, store)
    show_results(table, form, output, console())
    remark(unprepared(planned.prepares, planned.notes))


@cli.command()
@click.argument("source", type=click.Path(path_type=Path), metavar="GRID|RESULTS.parquet")
@overrides_argument
@store_option
@tracking_option
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to write to.")
@click.option("--compare", type=click.Choice(["paper"]), help="Compare with the published numbers.")
def report(
    source: Path,
    overrides: tuple[str, ...],
    store_uri: str,
    tracking_uri: str | None,
    output: Path,
    compare: str | None,
) -> None:
    """Write report.html, findings.md and the figures of a sweep, complete or not."""
    from ssl_sweep.sweep.commands.report import report_of

    click.echo(
        report_of(source, overrides, store_uri, tracking_uri, output, compare_paper=compare == "paper")
    )


@grid_command
@tracking_option
def sync(grid: Path, overrides: tuple[str, ...], store_uri: str, tracking_uri: str | None) -> None:
    """Write to MLflow what the store holds and MLflow lacks."""
    from ssl_sweep.sweep.tracking.mirror import sync_grid

    written = sync_grid(grid, overrides, store_uri, tracking_uri, remark)
    click.echo(f"{written} runs written")


@cli.command()
@store_option
@tracking_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Interface to listen on.")
@click.option("--port", default=5000, show_default=True, help="Port.")
def ui(store_uri: str, tracking_uri: str | None, host: str, port: int) -> None:
    """Start the MLflow UI on the sweep's runs; by default only this machine can reach it."""
    from ssl_sweep.sweep.tracking.location import ui_command

    command, environment = ui_command(store_uri, tracking_uri, host, port)
    click.echo(f"MLflow UI on http://{host}:{port} (stop it with Ctrl-C)", err=True)
    os.execve(command[0], command, os.environ | environment)


@cli.command()
def schema() -> None:
    """Print the JSON Schema of grid files, for editors."""
    from ssl_sweep.sweep.grid.schema import grid_schema

    click.echo(json.dumps(grid_schema(), indent=2))


@cli.command()
@store_option
@tracking_option
@address_option
def doctor(store_uri: str, tracking_uri: str | None, address: str | None) -> None:
    """Check the packages, GPU, DALI, store, MLflow and Ray."""
    from ssl_sweep.sweep.commands.doctor import diagnose
    from ssl_sweep.sweep.commands.render import print_checks

    sys.exit(print_checks(diagnose(store_uri, tracking_uri, address), console()))


@cli.command()
@click.argument("encoder_id")
@store_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The .safetensors file to write."
)
def export(encoder_id: str, store_uri: str, output: Path) -> None:
    """Write an encoder's weights, and a card beside them, for torchvision or timm."""
    from ssl_sweep.sweep.planning.outputs import require_outside_stored
    from ssl_sweep.sweep.stages.encoder_card import export_encoder
    from ssl_sweep.sweep.store.store import Store

    require_outside_stored(Store(store_uri), output, "the export", "-o")
    click.echo(export_encoder(encoder_id, store_uri, output))


for command in (plan, data, verify, migrate, calibrate, gc, submit, *COMMANDS):
    cli.add_command(command)
accept_verbose(cli)


def main() -> None:
    """The console script. An error that a user can fix is a message and an exit code, never a traceback."""
    from ssl_sweep.sweep.errors import SweepError
    from ssl_sweep.sweep.util.addresses import reach_loopback_directly

    reach_loopback_directly()
    # Else pydantic reads the metadata of every installed package.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
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
        click.echo("interrupted; run the same command again to continue from the last checkpoints", err=True)
        sys.stderr.flush()
        os._exit(130)
    except BrokenPipeError:
        os._exit(141)


if __name__ == "__main__":
    main()
