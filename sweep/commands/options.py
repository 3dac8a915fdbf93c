"""Arguments and options that commands share, and how results are shown."""

from __future__ import annotations

import json
import logging
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from ssl_sweep.sweep.util.addresses import DEFAULT_STORE

if TYPE_CHECKING:
    from rich.console import Console

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
    """The address of an option. It may hold a password, so the error does not repeat it.

    Raises:
        UsageError: it is not a valid address.
    """
    from ssl_sweep.sweep.errors import UsageError
    from ssl_sweep.sweep.util.addresses import malformed

    if address and (why := malformed(address)):
        raise UsageError(
            f"{option.opts[0]} is not a valid address: {why}", hint="give one such as http://127.0.0.1:5000"
        )
    return address


tracking_option = click.option(
    "--tracking-uri", callback=readable, help="MLflow server. Default: SQLite inside the store."
)
address_option = click.option(
    "--address", help="Ray cluster (auto, HOST:PORT, ray://HOST:10001). Default: this machine only."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


class _Stderr(logging.StreamHandler):
    """Writes to whatever ``sys.stderr`` is at the time: a live table replaces it while it is drawn."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))

    @property
    def stream(self) -> TextIO:
        return sys.stderr


def log_to_stderr(context: click.Context, option: click.Parameter, count: int) -> None:
    """Show the program's log: decisions with one ``-v``, details with more."""
    if count:
        logger = logging.getLogger("ssl_sweep")
        if not any(isinstance(handler, _Stderr) for handler in logger.handlers):
            logger.addHandler(_Stderr())
        logger.setLevel(logging.INFO if count == 1 else logging.DEBUG)


def verbosity() -> list[str]:
    """The option that shows as much of the log elsewhere."""
    return {logging.INFO: ["-v"], logging.DEBUG: ["-vv"]}.get(logging.getLogger("ssl_sweep").level, [])


verbose_option = click.option(
    "-v",
    "--verbose",
    count=True,
    expose_value=False,
    callback=log_to_stderr,
    help="Log each decision on stderr; -vv logs more.",
)


def accept_verbose(command: click.Command) -> None:
    """Let a command, and the commands of a group, take ``-v`` as well."""
    verbose_option(command)
    if isinstance(command, click.Group):
        for each in command.commands.values():
            accept_verbose(each)


def in_store(store_uri: str) -> str:
    """What a hint adds to a command if the store is not the default one."""
    return "" if store_uri == DEFAULT_STORE else f" {shlex.join(['--store', store_uri])}"


def remark(text: str) -> None:
    """Print a note on stderr unless it is empty."""
    if text:
        click.echo(text, err=True)


def document(value: Mapping[str, Any]) -> str:
    """A JSON document with a line for each key, and for each item of a list that is the value of a key.

    ``indent`` would be many times slower: it does without the encoder in C.
    """
    return "{\n" + ",\n".join(f" {json.dumps(key)}: {_lines(item)}" for key, item in value.items()) + "\n}"


def _lines(item: Any) -> str:
    if not isinstance(item, list | tuple) or not item:
        return json.dumps(item)
    return "[\n  " + ",\n  ".join(map(json.dumps, item)) + "\n ]"


def show(found: Any, printer: Callable[[Any, Console], None], as_json: bool) -> None:
    """Print a result on stdout, for people or as JSON, and exit with its exit code."""
    if as_json:
        click.echo(document(found.to_json()))
    else:
        printer(found, console())
    sys.exit(getattr(found, "exit_code", 0))


def console(stderr: bool = False) -> Console:
    """A console; rich prints plain text if the stream is not a terminal or NO_COLOR is set."""
    from ssl_sweep.sweep.commands.render import console_on

    return console_on(sys.stderr if stderr else sys.stdout)
