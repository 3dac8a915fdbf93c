"""Tables of what `calibrate` measured and what `gc` found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ssl_sweep.sweep.cost.estimate import size_text

if TYPE_CHECKING:
    from ssl_sweep.sweep.cost.calibration import Calibration
    from ssl_sweep.sweep.inspect.garbage import Garbage


def print_calibrations(found: Sequence[Calibration], out: Console) -> None:
    """A row per shape and hardware."""
    if not found:
        out.print("nothing to measure: every training has a rate on this hardware (--again measures anew)")
        return
    table = Table("training", "hardware", box=None, pad_edge=False)
    for name in ("copies", "steps", "ms/step", "images/s", "ms/epoch end", "ms/checkpoint"):
        table.add_column(name, justify="right")
    for each in found:
        table.add_row(
            each.shape.label,
            escape(each.shape.hardware),
            str(each.copies),
            str(each.steps),
            f"{1000 * each.step_s:,.1f}",
            f"{each.shape.batch / each.step_s:,.0f}",
            f"{1000 * each.epoch_s:,.1f}",
            f"{1000 * each.checkpoint_s:,.1f}",
        )
    out.print(table)


def print_garbage(found: Garbage, out: Console) -> None:
    """What no grid refers to, by stage."""
    table = Table("what", box=None, pad_edge=False)
    table.add_column("number", justify="right")
    table.add_column("size", justify="right")
    for kind in found.kinds:
        table.add_row(kind.name, f"{kind.count:,}", size_text(kind.bytes))
    if found.kinds:
        out.print(table)
    for line in found.said:
        out.print(escape(line))
