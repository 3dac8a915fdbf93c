"""``ssl-sweep submit``, and ``run`` at a ray:// address: the same sweep on a cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ssl_sweep.sweep.commands.cost import limit_options
from ssl_sweep.sweep.commands.options import grid_argument, overrides_argument, readable, verbosity

if TYPE_CHECKING:
    from ssl_sweep.sweep.cluster.submission import Submission


@click.command()
@grid_argument
@overrides_argument
@click.option("--address", required=True, help="The head's dashboard, such as http://127.0.0.1:8265.")
@click.option(
    "--store",
    "store_uri",
    required=True,
    help="Where results are kept: s3://bucket/prefix, or a folder that all nodes mount at the same path.",
)
@click.option(
    "--tracking-uri",
    callback=readable,
    help="MLflow server, without a password. Default: SQLite inside the store.",
)
@limit_options
@click.option("--wait/--no-wait", default=True, show_default=True, help="Follow the job until it ends.")
@click.option("--stop", is_flag=True, help="Stop the job; trainings write a checkpoint first.")
def submit(
    grid: Path,
    overrides: tuple[str, ...],
    address: str,
    store_uri: str,
    tracking_uri: str | None,
    max_gpu_hours: float | None,
    max_cost: float | None,
    priority: tuple[str, ...],
    wait: bool,
    stop: bool,
) -> None:
    """Run the sweep on a cluster, as a job that outlives this terminal.

    Run the same command again to attach to the job; Ctrl-C only detaches. The exit code comes from the store:
    0 if every cell is complete, 1 after failures, 130 if it was stopped.
    """
    from ssl_sweep.sweep.cluster.submission import prepare_submission

    options = words(max_gpu_hours, max_cost, priority)
    asked = prepare_submission(grid, overrides, store_uri, tracking_uri, options)
    sys.exit(_stop(asked, address) if stop else _submit(asked, address, wait))


def words(max_gpu_hours: float | None, max_cost: float | None, priority: tuple[str, ...]) -> list[str]:
    """The limits, priorities and verbosity as arguments, for the same command on the cluster.

    Raises:
        UsageError: a priority does not have the form axis=value.
    """
    from ssl_sweep.sweep.run.priority import Priority

    for each in priority:
        Priority.parse(each)
    limits = {"--max-gpu-hours": max_gpu_hours, "--max-cost": max_cost}
    given = [f"{name}={value}" for name, value in limits.items() if value is not None]
    return [*given, *(f"--priority={each}" for each in priority), *verbosity()]


def run_on_head(
    grid: Path,
    overrides: tuple[str, ...],
    store_uri: str,
    tracking_uri: str | None,
    address: str,
    options: list[str],
    notify: str | None,
) -> int:
    """``ssl-sweep run --address ray://…``: run the same command on the head and return its exit code."""
    from ssl_sweep.sweep.cluster.client import run_on_head as run_there
    from ssl_sweep.sweep.cluster.submission import prepare_submission
    from ssl_sweep.sweep.planning.whereabouts import note_run

    asked = prepare_submission(grid, overrides, store_uri, tracking_uri, options)
    note_run(grid, asked.store)
    return run_there(asked, address, lambda line: click.echo(line, nl=False), notify)


def _submit(asked: Submission, address: str, wait: bool) -> int:
    from ssl_sweep.sweep.cluster.jobs import INTERRUPTED, Jobs, exit_code, follow
    from ssl_sweep.sweep.planning.whereabouts import note_run

    jobs = Jobs(address)
    if id := jobs.running(asked):
        given = " (with the options that it was started with)" if asked.options else ""
        _say(f"attaching to {id}, which is already running{given}")
    else:
        id = jobs.start(asked)
        note_run(asked.grid, asked.store)
        _say(f"{id} is submitted")
    if not wait:
        _say(_how_to(asked))
        return 0
    try:
        details = follow(jobs, asked, id, lambda text: click.echo(text, nl=False), _say)
    except KeyboardInterrupt:
        _say(f"\ndetached; {id} keeps running\n{_how_to(asked)}")
        return INTERRUPTED
    return exit_code(asked, details, _say)


def _stop(asked: Submission, address: str) -> int:
    from ssl_sweep.sweep.cluster.jobs import Jobs

    jobs = Jobs(address)
    id = jobs.running(asked)
    if id is None:
        _say("this sweep is not running there: nothing to stop")
        return 0
    jobs.stop(id)
    _say(f"{id} is stopping: trainings write a checkpoint. Submit it again to continue.")
    return 0


def _how_to(asked: Submission) -> str:
    return (
        "To attach, run the same command again; to stop it, add --stop.\n"
        f"To see what is done: ssl-sweep status {asked.grid} --store {asked.store}"
    )


def _say(text: str) -> None:
    click.echo(text, err=True)
