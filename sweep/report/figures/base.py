"""What a figure is, and the parts that figures share: estimates by group, panels, lines with gaps, labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.curves import NotFitted
from ssl_sweep.sweep.report.frame import complete
from ssl_sweep.sweep.report.statistics import Estimate, estimates

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

WIDE, NARROW = 10.4, 3.7
"""Widths in inches: a desktop's column and a phone's screen. Each figure is drawn once for each."""
ACCURACY = "top-1 accuracy, %"
Section = Literal["quantity", "domain", "quality", "granularity", "other sources", "beyond"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture with its numbers."""

    section: Section
    name: str
    """Name of its files, and its anchor in the page."""
    title: str
    caption: str
    """What the figure shows, which settings are fixed, n and the intervals."""
    data: pd.DataFrame
    """What is drawn, one row per mark; written as the CSV beside the picture."""
    draw: Callable[..., Canvas]
    """Draws the picture for a width in inches. If a paper has the figure too, it also takes ``published``:
    the rows to lay over it."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A figure that the sweep has no cells for."""

    section: Section
    name: str
    title: str
    reason: str
    """What to add to the grid."""


Drawn = Figure | Gap


@dataclass(frozen=True)
class Subject:
    """What a figure is about, whether or not the sweep has the cells for it."""

    section: Section
    name: str
    title: str

    def figure(self, caption: str, data: pd.DataFrame, draw: Callable[..., Canvas]) -> Figure:
        """The figure; see there for the arguments."""
        return Figure(
            section=self.section, name=self.name, title=self.title, caption=caption, data=data, draw=draw
        )

    def gap(self, reason: str) -> Gap:
        """The missing figure and what to add to the grid."""
        return Gap(section=self.section, name=self.name, title=self.title, reason=reason)


# Numbers ----------------------------------------------------------------------------------------------


def points(rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """One row per group of ``keys``: mean, low and high of top-1 in percent, n, complete and cells.

    ``low`` and ``high`` bound the 95 % interval; they are NaN with one seed. A group without a finished cell
    has a NaN mean: the gap to mark.
    """
    by = list(keys)
    if rows.empty:
        return pd.DataFrame(columns=[*by, "mean", "low", "high", "n", "complete", "cells"])
    cells = rows.groupby(by, dropna=False)["cell_id"].nunique().reset_index(name="cells")
    done = complete(rows)
    if done.empty:
        found = cells[by].assign(mean=math.nan, low=math.nan, high=math.nan, n=0, complete=0)
    else:
        found = estimates(done, by)
        finished = done.groupby(by, dropna=False)["cell_id"].nunique().reset_index(name="complete")
        found = found.merge(finished, on=by)
        found[["mean", "low", "high"]] *= 100
    table = cells.merge(found, how="left", on=by)
    table[["n", "complete"]] = table[["n", "complete"]].fillna(0).astype(int)
    return table[[*by, "mean", "low", "high", "n", "complete", "cells"]]


def in_points(found: Estimate | None) -> list[float]:
    """Mean, low and high in percentage points; NaN for what is unknown."""
    values = (None, None, None) if found is None else (found.mean, found.low, found.high)
    return [math.nan if value is None else 100 * value for value in values]


BARS, PLUS_MINUS = ("bars are 95 % intervals", "no bar"), ("± is half the 95 % interval", "no ±")


def seeds_text(table: pd.DataFrame, what: str = "Mean", shown: tuple[str, str] = BARS) -> str:
    """``Mean of n = 3 pretraining seeds; bars are 95 % intervals``, or what is true instead."""
    counts = sorted({int(n) for n in table["n"] if n > 0})
    if not counts:
        return "No cell of this figure is finished"
    if counts == [1]:
        return "One pretraining seed (n = 1), so no interval"
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    interval, nothing = shown
    single = f"; {nothing} if n = 1" if counts[0] == 1 else ""
    return f"{what} of n = {span} pretraining seeds; {interval}{single}"


def gaps_text(table: pd.DataFrame, what: str = "points", mark: str = "marked ×") -> str:
    """How many means are missing; "" if none is."""
    missing = int(table["mean"].isna().sum())
    return f" {missing} of {len(table)} {what} are not finished yet ({mark})." if missing else ""


def crossing_text(found: Estimate | NotFitted) -> str:
    """``at 2.1k labels [1.8k, 2.5k], n = 3``, or why there is no crossing."""
    if isinstance(found, NotFitted):
        return found.reason
    span = ""
    if found.low is not None and found.high is not None:
        span = f" [{style.rounded(found.low)}, {style.rounded(found.high)}]"
    return f"at {style.rounded(found.mean)} labels{span}, n = {found.n}"


# Panels -----------------------------------------------------------------------------------------------


def panels(count: int, width: float, *, per_row: int = 4, height: float = 2.7) -> tuple[Canvas, list[Axes]]:
    """A canvas with ``count`` axes of one size, at most ``per_row`` side by side; sizes in inches."""
    from matplotlib.figure import Figure as Canvas

    across = 1 if width <= NARROW else min(per_row, count)
    down = math.ceil(count / across)
    wide = width if width <= NARROW else min(width, {1: 6.6, 2: 8.8}.get(across, width))
    canvas = Canvas(figsize=(wide, down * height + 0.35))
    canvas.set_layout_engine("constrained", h_pad=0.08, w_pad=0.06)
    axes = [canvas.add_subplot(down, across, position + 1) for position in range(count)]
    return canvas, axes


def domain_panels(
    table: pd.DataFrame,
    panel: Callable[[Axes, str, pd.DataFrame], None],
    *,
    ylabel: str = ACCURACY,
    per_row: int = 3,
    height: float = 2.7,
    same_range: bool = True,
) -> Callable[[float], Canvas]:
    """Draws one panel per evaluation domain, with one legend.

    Args:
        panel: draws into the axes of a domain, given its name and its rows of ``table``.
        same_range: whether the panels share their y range.
    """

    def picture(width: float) -> Canvas:
        domains = sorted(table["eval_domain"].unique())
        canvas, axes = panels(len(domains), width, per_row=per_row, height=height)
        for axis, domain in zip(axes, domains, strict=True):
            axis.set_title(style.short(domain))
            panel(axis, domain, table[table["eval_domain"] == domain])
        if same_range:
            same_limits(axes)
        axes[0].set_ylabel(ylabel)
        legend(canvas, axes)
        return canvas

    return picture


def same_limits(axes: Sequence[Axes]) -> None:
    """One y range for all panels, unless one of them would be squeezed below a third of it."""
    spans = [axis.get_ylim() for axis in axes]
    bottom, top = min(s[0] for s in spans), max(s[1] for s in spans)
    if min(s[1] - s[0] for s in spans) * 3 < top - bottom:
        return
    for axis in axes:
        axis.set_ylim(bottom, top)


def line(
    axis: Axes,
    table: pd.DataFrame,
    x: str,
    colour: str,
    marker: str = "o",
    dashes: str = "-",
    position: int = 0,
    **more: Any,
) -> None:
    """Draw means joined by a line that breaks at gaps, thin bars for intervals, and × at the foot for gaps.

    Args:
        table: rows of ``points``.
        position: of the line among those of the panel; it keeps the × of different lines apart.
        more: further arguments of ``axis.plot``.
    """
    table = table.sort_values(x)
    at, mean = table[x].to_numpy(float), table["mean"].to_numpy(float)
    edge: dict[str, Any] = {"markeredgecolor": style.PAPER, "markeredgewidth": 0.5}
    axis.plot(at, mean, linestyle=dashes, color=colour, marker=marker, **edge, **more)
    has = table["low"].notna()
    axis.vlines(at[has], table["low"][has], table["high"][has], color=colour, linewidth=0.9)
    foot = [0.03 + 0.035 * position] * int(np.isnan(mean).sum())
    if foot:
        transform = axis.get_xaxis_transform()
        axis.plot(
            at[np.isnan(mean)], foot, "x", color=colour, transform=transform, markersize=4, clip_on=False
        )


def label_ends(axis: Axes, entries: Iterable[tuple[float, str, str]], size: float = 8) -> None:
    """Write names at the right of the axes, moved apart if they would touch.

    Args:
        entries: value on the y axis, text and colour of each.
        size: of the font, in points.
    """
    bottom, top = axis.get_ylim()
    tall = axis.get_window_extent().height / axis.get_figure().dpi * 72  # type: ignore[union-attr]
    step = (size + 1.5) / max(tall, 40)
    wanted = sorted(
        ((v - bottom) / (top - bottom), text, colour) for v, text, colour in entries if not math.isnan(v)
    )
    places = [place for place, _, _ in wanted]
    for _ in range(60):
        for i in range(len(places) - 1):
            if (lack := step - (places[i + 1] - places[i])) > 1e-6:
                places[i] -= lack / 2
                places[i + 1] += lack / 2
    for place, (_, text, colour) in zip(places, wanted, strict=True):
        axis.annotate(
            text,
            (1, place),
            xycoords="axes fraction",
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=size,
            color=readable(colour),
            annotation_clip=False,
        )


def readable(colour: str) -> str:
    """The colour for a line's name: that of the line, or ink if that is too pale to read."""
    return style.INK if colour in style.BLUES[:3] else colour


def last_value(table: pd.DataFrame, x: str) -> float:
    """The mean at the largest ``x`` that has one, else NaN."""
    known = table[table["mean"].notna()].sort_values(x)
    return float(known["mean"].iloc[-1]) if len(known) else math.nan


def legend(canvas: Canvas, axes: Sequence[Axes], order: Sequence[str] = ()) -> None:
    """One legend above all panels, each name once: first those in ``order``, then by first appearance."""
    found: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if not found:
        return
    room = canvas.get_figwidth()
    if sum(0.55 + 0.063 * len(label) for label in found) <= room:
        across = len(found)
    else:
        across = max(1, int(room / (0.55 + 0.068 * max(len(label) for label in found))))
    ranked = sorted(found, key=lambda name: order.index(name) if name in order else len(order))
    names = _by_rows(ranked, across)
    canvas.legend(
        [found[name] for name in names], names, loc="outside upper left", ncols=across, borderaxespad=0.2
    )


def _by_rows(names: list[str], across: int) -> list[str]:
    """The order in which matplotlib, which fills columns, shows names row by row."""
    down = math.ceil(len(names) / across)
    full = len(names) - (down - 1) * across or across
    grid = [names[row * across : (row + 1) * across] for row in range(down)]
    return [
        grid[row][column] for column in range(across) for row in range(down if column < full else down - 1)
    ]
