"""The page of the commands says what their help says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner

from ssl_sweep.cli import cli

SCRIPT = Path(__file__).parents[2] / "docs" / "scripts" / "cli_reference.py"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cli_reference", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_help_says(script: ModuleType) -> None:
    written = script.PAGE.read_text(encoding="utf-8")
    assert written == script.reference(), "run: python docs/scripts/cli_reference.py"


def test_every_command_and_option_is_on_the_page(script: ModuleType) -> None:
    written = script.PAGE.read_text(encoding="utf-8")
    for name, command in cli.commands.items():
        assert f"\n## ssl-sweep {name}\n" in written
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.opts[-1] in written, f"{name} {parameter.opts}"


def test_a_usage_line_is_the_one_of_the_help(script: ModuleType) -> None:
    said = CliRunner().invoke(cli, ["results", "--help"], prog_name="ssl-sweep").output
    usage = " ".join(said.split("\n\n")[0].split()).removeprefix("Usage: ")
    assert f"\n{usage}\n" in script.PAGE.read_text(encoding="utf-8")
