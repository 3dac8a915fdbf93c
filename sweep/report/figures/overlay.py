"""Published numbers drawn over one's own: dashed lines, named where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.figures.base import label_ends

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DASHES = (0, (3.5, 2))
_SAME = "as published, same colour"


def of_panel(published: pd.DataFrame | None, **where: object) -> pd.DataFrame:
    """The published rows of a panel; none where a figure stands alone."""
    rows = pd.DataFrame(columns=["label", "short", "line"]) if published is None else published
    for name, value in where.items():
        rows = rows[rows[name] == value] if name in rows else rows
    return rows


def dashed(axis: Axes, rows: pd.DataFrame, x: str, colours: Mapping[str, str]) -> None:
    """A line for each `line` of the rows, in the colour that one's own of that name has, else grey."""
    for name, part in rows.groupby("line", sort=False):
        part = part.sort_values(x)
        colour = colours.get(str(name), style.MUTED)
        label = part["label"].iloc[0]
        axis.plot(part[x], part["mean"], linestyle=_DASHES, color=colour, linewidth=1.2, zorder=1.8)
        axis.plot([], [], linestyle=_DASHES, color=colour if label else style.MUTED, label=label or _SAME)


def name_dashed(axis: Axes, rows: pd.DataFrame, x: str, colours: Mapping[str, str]) -> None:
    """Short names at the right of the axes, when the limits are settled. Lines that have one's own names need
    one for all."""
    ends = []
    for name, part in rows.groupby("line", sort=False):
        last = float(part.sort_values(x)["mean"].iloc[-1])
        ends.append((last, str(part["short"].iloc[0]), colours.get(str(name), style.MUTED)))
    if len(rows) and not rows["label"].iloc[0]:
        ends = [(max(ends)[0], f"dashed: {rows['short'].iloc[0]}", style.INK)]
    label_ends(axis, ends, size=6.5)
