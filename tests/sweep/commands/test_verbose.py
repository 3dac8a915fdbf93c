"""`-v` shows the program's log on stderr, before or after the command's name; otherwise it is silent."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from ssl_sweep.cli import cli
from ssl_sweep.sweep.commands.cluster import words
from ssl_sweep.sweep.commands.options import accept_verbose, verbose_option

LOG = logging.getLogger("ssl_sweep.sweep.somewhere")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    logger = logging.getLogger("ssl_sweep")
    before, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(before)
    logger.handlers[:] = handlers


@click.group()
def group() -> None: ...


@group.command()
def decide() -> None:
    LOG.info("leased %s", "a stage")
    LOG.debug("looked")
    click.echo("done")


accept_verbose(group)


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["decide"], []),
        (["-v", "decide"], ["leased a stage"]),
        (["decide", "-v"], ["leased a stage"]),
        (["decide", "-vv"], ["leased a stage", "looked"]),
        (["-vv", "decide"], ["leased a stage", "looked"]),
    ],
)
def test_decisions_are_shown_if_asked(arguments: list[str], messages: list[str]) -> None:
    done = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert done.stdout == "done\n"
    lines = [re.fullmatch(r"\d\d:\d\d:\d\d (.*)", line) for line in done.stderr.splitlines()]
    assert [line and line[1] for line in lines] == messages


def test_every_command_takes_the_option() -> None:
    commands = [cli, *cli.commands.values()]
    commands += [
        each for command in commands if isinstance(command, click.Group) for each in command.commands.values()
    ]
    assert len(commands) > 20
    for command in commands:
        assert [option.name for option in command.params].count("verbose") == 1, command.name


def test_a_driver_on_the_cluster_logs_as_much() -> None:
    assert words(None, None, ()) == []
    for flag in ("-v", "-vv"):
        CliRunner().invoke(verbose_option(click.command()(lambda: None)), [flag], catch_exceptions=False)
        assert words(2.0, None, ("eval_domain=a",)) == [
            "--max-gpu-hours=2.0",
            "--priority=eval_domain=a",
            flag,
        ]
