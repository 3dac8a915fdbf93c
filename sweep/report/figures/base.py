"""What a figure is, and the parts they share: estimates by group, panels, lines with gaps, labels, heat
maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
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
"""Inches: a desktop's column and a phone's screen. A figure is drawn once for each."""
Section = Literal["quantity", "domain", "quality", "granularity", "other sources", "beyond"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture with its numbers.

    Attributes:
        name: of its files and its anchor in the page.
        caption: what to see, what is held, n and intervals.
        data: what is drawn, one row per mark; the CSV beside the picture.
        draw: the picture for a width in inches; where a paper has it too also with `published`, the rows to
            lay over it.
    """

    section: Section
    name: str
    title: str
    caption: str
    data: pd.DataFrame
    draw: Callable[..., Canvas]


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A figure that the sweep has no cells for, and what to add to the grid."""

    section: Section
    name: str
    title: str
    reason: str


Drawn = Figure | Gap


# Numbers ----------------------------------------------------------------------------------------------


def points(rows: pd.DataFrame, keys: Sequence[str], metric: str = "top1", scale: float = 100) -> pd.DataFrame:
    """One row per group of `keys`: mean, low, high (95 %, NaN with one seed), n, cells and those complete.
    A group without an answer has NaN: the gap to mark."""
    by = list(keys)
    if rows.empty:
        return pd.DataFrame(columns=[*by, "mean", "low", "high", "n", "complete", "cells"])
    cells = rows.groupby(by, dropna=False)["cell_id"].nunique().reset_index(name="cells")
    done = complete(rows)
    done = done[done[metric].notna()]
    if done.empty:
        found = cells[by].assign(mean=math.nan, low=math.nan, high=math.nan, n=0, complete=0)
    else:
        found = estimates(done, by, metric)
        finished = done.groupby(by, dropna=False)["cell_id"].nunique().reset_index(name="complete")
        found = found.merge(finished, on=by)
        found[["mean", "low", "high"]] *= scale
    table = cells.merge(found, how="left", on=by)
    table[["n", "complete"]] = table[["n", "complete"]].fillna(0).astype(int)
    return table[[*by, "mean", "low", "high", "n", "complete", "cells"]]


def seeds_text(table: pd.DataFrame, what: str = "Mean") -> str:
    """`Mean of n = 3 pretraining seeds, bars are 95 % intervals`, as far as that is so."""
    counts = sorted({int(n) for n in table["n"] if n > 0})
    if not counts:
        return "Nothing of it is finished"
    if counts == [1]:
        return "One pretraining seed (n = 1), so no interval"
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    alone = "; no bar where n = 1" if counts[0] == 1 else ""
    return f"{what} of n = {span} pretraining seeds, bars are 95 % intervals{alone}"


def halves_text(table: pd.DataFrame) -> str:
    """The same where ± stands for the bar."""
    text = seeds_text(table).replace("bars are 95 % intervals", "± is half the 95 % interval")
    return text.replace("no bar", "none")


def gaps_text(table: pd.DataFrame) -> str:
    missing = int(table["mean"].isna().sum())
    if not missing:
        return ""
    return f" {missing} of {len(table)} points are not finished yet (marked ×)."


def crossing_text(found: Estimate | NotFitted) -> str:
    """`at 2.1k labels [1.8k, 2.5k], n = 3`, or why there is none."""
    if isinstance(found, NotFitted):
        return found.reason
    span = "" if found.low is None or found.high is None else f" [{_short(found.low)}, {_short(found.high)}]"
    return f"at {_short(found.mean)} labels{span}, n = {found.n}"


def _short(number: float) -> str:
    return style.count(float(f"{number:.2g}"))


# Panels -----------------------------------------------------------------------------------------------


def panels(count: int, width: float, *, per_row: int = 4, height: float = 2.7) -> tuple[Canvas, list[Axes]]:
    """A figure with `count` axes of one size, as many side by side as the width allows."""
    from matplotlib.figure import Figure as Canvas

    across = 1 if width <= NARROW else min(per_row, count)
    down = math.ceil(count / across)
    wide = width if width <= NARROW else min(width, {1: 6.6, 2: 8.8}.get(across, width))
    canvas = Canvas(figsize=(wide, down * height + 0.35))
    canvas.set_layout_engine("constrained", h_pad=0.08, w_pad=0.06)
    axes = [canvas.add_subplot(down, across, position + 1) for position in range(count)]
    return canvas, axes


def same_limits(axes: Sequence[Axes], low: float | None = None) -> None:
    """One y range for all; where one panel would be squeezed below a third of it, each keeps its own."""
    spans = [axis.get_ylim() for axis in axes]
    bottom, top = min(s[0] for s in spans), max(s[1] for s in spans)
    bottom = bottom if low is None else low
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
    """Means joined by a line that breaks at gaps, thin bars for intervals, × at the foot for what is
    missing."""
    table = table.sort_values(x)
    at, mean = table[x].to_numpy(float), table["mean"].to_numpy(float)
    axis.plot(
        at,
        mean,
        linestyle=dashes,
        color=colour,
        marker=marker,
        markeredgecolor=style.PAPER,
        markeredgewidth=0.5,
        **more,
    )
    has = table["low"].notna()
    axis.vlines(at[has], table["low"][has], table["high"][has], color=colour, linewidth=0.9)
    foot = [0.03 + 0.035 * position] * int(np.isnan(mean).sum())
    if foot:
        transform = axis.get_xaxis_transform()
        axis.plot(
            at[np.isnan(mean)], foot, "x", color=colour, transform=transform, markersize=4, clip_on=False
        )


def label_ends(axis: Axes, entries: Iterable[tuple[float, str, str]], size: float = 8) -> None:
    """Names at the right of the axes, (value, text, colour) each, moved apart where they would touch."""
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
    """A line's colour as the colour of its name: pale ones give way to ink."""
    return style.INK if colour in style.BLUES[:3] else colour


def last_value(table: pd.DataFrame, x: str) -> float:
    known = table[table["mean"].notna()].sort_values(x)
    return float(known["mean"].iloc[-1]) if len(known) else math.nan


def legend(canvas: Canvas, axes: Sequence[Axes], width: float, order: Sequence[str] = ()) -> None:
    """One legend above all panels, each name once, in the given order, then in that of first appearance."""
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


# Tables as pictures -----------------------------------------------------------------------------------


_LEAST_ROOM = 0.34
"""Inches that a number takes; narrower cells have their colour alone."""


def heat(
    axis: Axes,
    table: pd.DataFrame,
    *,
    rank: bool,
    unit: str = "",
    below: Sequence[str] = (),
    by_column: bool = True,
    published: Mapping[tuple[str, str], float] | None = None,
) -> None:
    """A heat map of `points` indexed by (row, column): mean, ± half an interval, n, and what was published.
    With `rank` the best of each column is bold and the second underlined; rows in `below` are references and
    take no part. Cells that are not there stay empty, unfinished ones are hatched."""
    from matplotlib.patches import Rectangle

    rows, columns = list(dict.fromkeys(table["row"])), list(dict.fromkeys(table["column"]))
    tight = axis.get_figure().get_figwidth() / (len(columns) + 0.06 * max(map(len, rows))) < 1.0  # type: ignore[union-attr]
    ranked = table[~table["row"].isin(below)]
    longest = max(len(part) for row in rows for part in (str(row).split(" + ") if tight else [str(row)]))
    room = (axis.get_figure().get_figwidth() - 0.068 * longest) / len(columns)  # type: ignore[union-attr]
    axis.set_xlim(0, len(columns))
    axis.set_ylim(len(rows), 0)
    theirs = published or {}
    lift = 0.13 if theirs else 0.0
    for _, cell in table.iterrows():
        x, y = columns.index(cell["column"]), rows.index(cell["row"])
        if (place := (cell["row"], cell["column"])) in theirs:
            text = f"({theirs[place]:.1f})" if tight else f"published {theirs[place]:.1f}"
            axis.text(x + 0.5, y + 0.86, text, ha="center", va="center", fontsize=6.5, style="italic")
        peers = ranked[ranked["column"] == cell["column"]]["mean"] if by_column else ranked["mean"]
        if math.isnan(cell["mean"]):
            axis.add_patch(
                Rectangle((x, y), 1, 1, facecolor="none", edgecolor=style.GRID, hatch="////", linewidth=0)
            )
            if room > 2 * _LEAST_ROOM:
                axis.text(x + 0.5, y + 0.43, "not finished", ha="center", fontsize=7, color=style.MUTED)
            continue
        spread = peers.max() - peers.min()
        strength = 0 if cell["row"] in below or not spread > 0 else (cell["mean"] - peers.min()) / spread
        alpha = 0.0 if cell["row"] in below else 0.05 + 0.4 * strength
        axis.add_patch(Rectangle((x, y), 1, 1, facecolor=style.HEAT, alpha=alpha, linewidth=0))
        if room < _LEAST_ROOM:
            continue
        order = (
            int((peers > cell["mean"]).sum()) if rank and cell["row"] not in below and len(peers) > 1 else 9
        )
        axis.text(
            x + 0.5, y + 0.43 - lift, f"{cell['mean']:.1f}{unit}", ha="center", va="center",
            fontsize=10, weight="bold" if order == 0 else "normal",
        )  # fmt: skip
        if order == 1:
            axis.plot([x + 0.36, x + 0.64], [y + 0.6 - lift] * 2, color=style.INK, linewidth=0.9)
        half = (cell["high"] - cell["low"]) / 2
        note = f"n = {cell['n']:.0f}" if math.isnan(half) else f"± {half:.1f}"
        note = "" if cell["n"] == 0 else note
        if note and not tight and not math.isnan(half):
            note += f", n = {cell['n']:.0f}"
        axis.text(x + 0.5, y + 0.77 - lift, note, ha="center", va="center", fontsize=6.5, color=style.MUTED)
    for y in range(1, len(rows)):
        heavy = rows[y] in below and rows[y - 1] not in below
        axis.axhline(y, color=style.MUTED if heavy else style.PAPER, linewidth=1)
    for x in range(1, len(columns)):
        axis.axvline(x, color=style.PAPER, linewidth=1)
    named = [str(r).replace(" + ", "\n+ ") if tight else str(r) for r in rows]
    axis.tick_params(length=0, labelsize=8.5, labeltop=True, labelbottom=False)
    at = [x + 0.5 for x in range(len(columns))]
    if max(len(str(c)) for c in columns) * 0.078 <= room:
        axis.set_xticks(at, columns)
    else:  # whole names, aslant
        names = [style.short(c) for c in columns]
        size = min(8.5, max(4.0, 60 * room))
        upright = room < _LEAST_ROOM
        turned = {"rotation": 90} if upright else {"rotation": 35, "ha": "left", "rotation_mode": "anchor"}
        axis.set_xticks(at, names, fontsize=size, **turned)
    axis.set_yticks([y + 0.5 for y in range(len(rows))], named)
    axis.grid(False)
    axis.spines[:].set_visible(False)


def heat_canvas(
    rows: int, columns: int, width: float, longest: int, height: float = 0.46
) -> tuple[Canvas, Axes]:
    """Room for a heat map whose longest row name has `longest` characters and whose cells have a height."""
    from matplotlib.figure import Figure as Canvas

    wide = min(width, 0.075 * longest + 1.3 * columns + 0.4)
    canvas = Canvas(
        figsize=(max(wide, NARROW if width <= NARROW else 4), height * rows + 0.6), layout="constrained"
    )
    return canvas, canvas.add_subplot()
