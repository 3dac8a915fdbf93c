"""Arguments and options that commands share, and how they show what they found."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

DEFAULT_STORE = "ssl-sweep-store"  # as in sweep.store, which is not imported for --help
FORMATS = ("table", "csv", "json", "parquet")

grid_argument = click.argument("grid", type=click.Path(path_type=Path))
name_argument = click.argument("name")
overrides_argument = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
store_option = click.option(
    "--store",
    "store_uri",
    default=DEFAULT_STORE,
    show_default=True,
    help="Where results are kept: a folder, or s3://bucket/prefix.",
)


def readable(context: click.Context, option: click.Parameter, address: str | None) -> str | None:
    """The address of an option; UsageError where it is none. It may hold a password: it is not repeated."""
    from ssl_sweep.sweep.errors import UsageError
    from ssl_sweep.sweep.util.addresses import malformed

    if address and (why := malformed(address)):
        raise UsageError(f"{option.opts[0]} is no address: {why}", hint="as http://127.0.0.1:5000")
    return address


tracking_option = click.option(
    "--tracking-uri", callback=readable, help="MLflow server; default: SQLite inside the store."
)
address_option = click.option(
    "--address", help="Ray cluster (auto, HOST:PORT, ray://HOST:10001); default: this machine alone."
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document.")


def in_store(store_uri: str) -> str:
    """What a hint adds to a command for a store that is not the default one."""
    return "" if store_uri == DEFAULT_STORE else f" {shlex.join(['--store', store_uri])}"


def remark(text: str) -> None:
    """On stderr, where there is something to say."""
    if text:
        click.echo(text, err=True)


def show(found: Any, printer: Callable[[Any, Console], None], as_json: bool) -> None:
    """On stdout, for a person or a program; the exit code is what was found."""
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1))
    else:
        printer(found, console())
    sys.exit(getattr(found, "exit_code", 0))


def console(stderr: bool = False) -> Console:
    """Plain where the output is no terminal or NO_COLOR is set (rich looks at both)."""
    from ssl_sweep.sweep.commands.render import console_on

    return console_on(sys.stderr if stderr else sys.stdout)
