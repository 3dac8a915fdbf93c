"""What `ssl-sweep explain` found, for people."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from ssl_sweep.sweep.cost.estimate import size_text
from ssl_sweep.sweep.inspect.explain import Explanation, Relative
from ssl_sweep.sweep.run.progress import duration

_COLOURS = {"complete": "green", "failed": "red", "blocked": "yellow", "running": "cyan", "to_run": "default"}
_RELATIVES_SHOWN = 10


def print_explanation(found: Explanation, out: Console) -> None:
    """What it is, its state and reason, settings, what it came from, what rests on it, files, time."""

    def line(name: str, text: str) -> None:
        out.print(f"[bold]{name:<11}[/bold] {escape(text)}", soft_wrap=True)

    if found.cell:
        line("cell", f"{found.cell}, answered by {found.stage} {found.id}")
    line("stage", f"{found.stage} {found.id}" + (f"  {found.label}" if found.label else ""))
    line("is", found.what)
    line("state", found.state.replace("_", " "))
    line("why", found.why)
    if found.failure is not None:
        line("next", f"`logs {found.id}` shows what it said; mend it, then run again")
    for i, (path, value) in enumerate(found.settings.items()):
        line("settings" if i == 0 else "", f"{path} = {_text(value)}")
    if not found.settings:
        line("settings", "unknown")
    if found.upstream:
        tree = Tree("[bold]came from[/bold]")
        _grow(tree, found.upstream)
        out.print(tree, soft_wrap=True)
    for i, one in enumerate(found.dependants[:_RELATIVES_SHOWN]):
        line("needed by" if i == 0 else "", _named(one))
    below = ", ".join(f"{n:,} {stage}" for stage, n in found.downstream.items())
    cells = f"; cells: {len(found.cells):,}" if found.cells else ""
    line("below it", (below or "nothing") + cells)
    for i, (name, size) in enumerate(found.files.items()):
        line("files" if i == 0 else "", f"{name}  {size_text(size)}")
    if (run := found.run) is not None:
        where = " · ".join(
            filter(None, [run.host, run.device, run.hardware, run.mode, f"workers: {run.workers}"])
        )
        line("ran", f"{run.started} for {duration(run.seconds)} on {where}")
        line("with", ", ".join(f"{name} {version}" for name, version in run.versions.items()) or "unknown")


def _grow(tree: Tree, relatives: Iterable[Relative]) -> None:
    for one in relatives:
        _grow(tree.add(f"[{_COLOURS[one.state]}]{escape(_named(one))}[/]"), one.upstream)


def _named(one: Relative) -> str:
    return f"{one.stage} {one.id} ({one.state.replace('_', ' ')})  {one.label}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
