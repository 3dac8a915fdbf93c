"""Write docs/cli.md from the help texts of the commands. Run it after a help text changed:

python docs/scripts/cli_reference.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from ssl_sweep.cli import cli

PAGE = Path(__file__).parents[1] / "cli.md"
_INTRO = """# Commands

`python docs/scripts/cli_reference.py` writes this page from the help texts. Do not edit it by hand.

`GRID` is a grid file. `KEY=VALUE` changes one of its values for one call:
`ssl-sweep run grid.yaml pretrain.epochs=20`.
An `ID` is the first letters of the id of a stage or a cell, as `status` and `plan --json` show them.

| exit code | meaning |
|---|---|
| 0 | done: every cell is complete |
| 1 | a stage failed, or `verify`, `data check` or `doctor` found a problem |
| 2 | the command line or the grid is wrong |
| 3 | a limit or this machine or cluster does not allow the run |
| 130, 143 | stopped by Ctrl-C or by SIGTERM; the same command resumes |
"""


def reference() -> str:
    """The whole page."""
    parts = [_INTRO, *_commands(cli, "ssl-sweep", None)]
    return "\n".join(parts)


def _commands(group: click.Group, path: str, parent: click.Context | None) -> Iterator[str]:
    context = click.Context(group, info_name=path.rsplit(" ", 1)[-1], parent=parent)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        full = f"{path} {name}"
        yield _section(command, full, click.Context(command, info_name=name, parent=context))
        if isinstance(command, click.Group):
            yield from _commands(command, full, context)


def _section(command: click.Command, path: str, context: click.Context) -> str:
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    lines = [f"## {path}", "", "```", usage, "```", "", _text(command.help or ""), ""]
    options = [
        record
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option)  # the usage line names the arguments
        and (record := parameter.get_help_record(context)) is not None
        and "--help" not in record[0]
    ]
    if options:
        lines += ["| option | |", "|---|---|"]
        lines += [f"| `{_cell(names)}` | {_cell(_text(said))} |" for names, said in options]
        lines.append("")
    return "\n".join(lines)


def _text(help_text: str) -> str:
    """Paragraphs, each on one line; click's marks for kept line breaks are taken out."""
    paragraphs = re.split(r"\n\s*\n", help_text.replace("\b", "").strip())
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
    print(f"{PAGE} is written")
