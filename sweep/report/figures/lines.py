"""Panels of named lines, and the published ones over them: dashed, named at their ends."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.figures.base import (
    ACCURACY,
    NARROW,
    label_ends,
    last_value,
    legend,
    line,
    panels,
    same_limits,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_DASHES = (0, (3.5, 2))
_SAME = "as published, same colour"


@dataclass(frozen=True)
class Look:
    """How a line is drawn; ``more`` are further arguments of ``line``."""

    colour: str
    marker: str = "o"
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The lines of one panel."""

    title: str
    rows: pd.DataFrame
    """``points`` with the name of the ``line``."""
    ticks: Collection[float]
    where: Mapping[str, object]
    """Columns and values of the published rows that belong here."""
    decorate: Callable[[Axes], None] = lambda axis: None
    """Draws what the panel has in addition to lines."""


def line_panels(
    shown: Sequence[Panel],
    x: str,
    xlabel: str,
    looks: Mapping[str, Look],
    *,
    per_row: int = 3,
    label_each_row: bool = False,
) -> Callable[..., Canvas]:
    """Draws lines over a logarithmic ``x``, with a legend; in a lone panel, names at their ends instead.

    Args:
        looks: the look of each line by its name, in the order of the legend.
        label_each_row: whether every row of panels says what its y axis is, else the first panel only.
    """
    colours = {name: look.colour for name, look in looks.items()}

    def picture(width: float, published: pd.DataFrame | None = None) -> Canvas:
        canvas, axes = panels(len(shown), width, per_row=per_row)
        theirs = [of_panel(published, **one.where) for one in shown]
        for axis, one, over in zip(axes, shown, theirs, strict=True):
            style.log_counts(axis, sorted({*one.ticks, *over.get(x, ())}), xlabel)
            for i, (name, part) in enumerate(_parts(one.rows, looks)):
                look = looks[name]
                if len(part):
                    line(axis, part, x, look.colour, look.marker, position=i, label=name, **look.more)
            one.decorate(axis)
            dashed(axis, over, x, colours)
            axis.set_title(one.title)
        across = 1 if width <= NARROW else per_row
        for axis in axes[::across] if label_each_row else axes[:1]:
            axis.set_ylabel(ACCURACY)
        same_limits(axes)
        for axis, over in zip(axes, theirs, strict=True):
            name_dashed(axis, over, x, colours)
        if len(axes) > 1 or published is not None:
            legend(canvas, axes, list(looks))
        else:
            parts = _parts(shown[0].rows, looks)
            label_ends(axes[0], [(last_value(part, x), name, colours[name]) for name, part in parts])
        return canvas

    return picture


def _parts(rows: pd.DataFrame, looks: Mapping[str, Look]) -> list[tuple[str, pd.DataFrame]]:
    return [(name, rows[rows["line"] == name]) for name in looks]


def of_panel(published: pd.DataFrame | None, **where: object) -> pd.DataFrame:
    """The published rows of a panel; no rows if nothing is laid over the figure."""
    rows = pd.DataFrame(columns=["label", "short", "line"]) if published is None else published
    for name, value in where.items():
        rows = rows[rows[name] == value] if name in rows else rows
    return rows


def dashed(axis: Axes, rows: pd.DataFrame, x: str, colours: Mapping[str, str]) -> None:
    """Draw each published ``line`` in the colour of the sweep's line of that name, else in grey."""
    for name, part in rows.groupby("line", sort=False):
        part = part.sort_values(x)
        colour = colours.get(str(name), style.MUTED)
        label = part["label"].iloc[0]
        axis.plot(part[x], part["mean"], linestyle=_DASHES, color=colour, linewidth=1.2, zorder=1.8)
        axis.plot([], [], linestyle=_DASHES, color=colour if label else style.MUTED, label=label or _SAME)


def name_dashed(axis: Axes, rows: pd.DataFrame, x: str, colours: Mapping[str, str]) -> None:
    """Write short names of the published lines at the right, once the limits are final.

    Lines in the sweep's own colours share one name.
    """
    ends = []
    for name, part in rows.groupby("line", sort=False):
        last = float(part.sort_values(x)["mean"].iloc[-1])
        ends.append((last, str(part["short"].iloc[0]), colours.get(str(name), style.MUTED)))
    if len(rows) and not rows["label"].iloc[0]:
        ends = [(max(ends)[0], f"dashed: {rows['short'].iloc[0]}", style.INK)]
    label_ends(axis, ends, size=6.5)
