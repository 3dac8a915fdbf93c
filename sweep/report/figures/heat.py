"""Tables as pictures: heat maps with the numbers in their cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.figures.base import NARROW

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_NUMBER = 0.34
"""Width of a number in inches; narrower cells show their colour only."""
_LETTER = 0.068
"""Width of a letter of a row's name, in inches."""


@dataclass(frozen=True)
class HeatLayout:
    """What fits into the cells and beside them; sizes in inches."""

    rows: list[str]
    columns: list[str]
    width: float
    """Width of the whole picture."""

    @property
    def tight(self) -> bool:
        """Whether names of pools are broken into lines, and notes are shortened."""
        return self.width / (len(self.columns) + 0.06 * max(map(len, self.rows))) < 1.0

    @property
    def cell(self) -> float:
        """Width of a cell."""
        lines = [part for name in self.row_names for part in name.split("\n+ ")]
        return (self.width - _LETTER * max(map(len, lines))) / len(self.columns)

    @property
    def row_names(self) -> list[str]:
        return [name.replace(" + ", "\n+ ") if self.tight else name for name in self.rows]

    def place(self, row: str, column: str) -> tuple[int, int]:
        """The upper left corner of a cell, in cells."""
        return self.columns.index(column), self.rows.index(row)

    def label(self, axis: Axes) -> None:
        """Name the columns above and the rows at the left; names that are too long are slanted."""
        axis.tick_params(length=0, labelsize=8.5, labeltop=True, labelbottom=False)
        at = [x + 0.5 for x in range(len(self.columns))]
        if max(map(len, self.columns)) * 0.078 <= self.cell:
            axis.set_xticks(at, self.columns)
        else:
            names = [style.short(column) for column in self.columns]
            size = min(8.5, max(4.0, 60 * self.cell))
            aslant = {"rotation": 35, "ha": "left", "rotation_mode": "anchor"}
            turned = {"rotation": 90} if self.cell < _NUMBER else aslant
            axis.set_xticks(at, names, fontsize=size, **turned)
        axis.set_yticks([y + 0.5 for y in range(len(self.rows))], self.row_names)


def heat(
    axis: Axes,
    table: pd.DataFrame,
    *,
    rank: bool,
    below: Sequence[str] = (),
    by_column: bool = True,
    published: Mapping[tuple[str, str], float] | None = None,
) -> None:
    """Draw a heat map of ``points``: mean, ± half an interval, n, and the published value.

    Absent cells stay empty; unfinished ones are hatched.

    Args:
        table: ``points`` with ``row`` and ``column``.
        rank: whether the best of each column is bold and the second underlined.
        below: rows that are references: without colour and rank.
        by_column: whether the colour compares a cell with its column, else with the whole table.
        published: published values by (row, column).
    """
    layout = HeatLayout(
        [str(row) for row in dict.fromkeys(table["row"])],
        [str(column) for column in dict.fromkeys(table["column"])],
        axis.get_figure().get_figwidth(),  # type: ignore[union-attr]
    )
    axis.set_xlim(0, len(layout.columns))
    axis.set_ylim(len(layout.rows), 0)
    theirs = published or {}
    lift = 0.13 if theirs else 0.0
    ranked = table[~table["row"].isin(below)]
    for cell in table.to_dict("records"):
        x, y = layout.place(cell["row"], cell["column"])
        if (place := (cell["row"], cell["column"])) in theirs:
            text = f"({theirs[place]:.1f})" if layout.tight else f"published {theirs[place]:.1f}"
            axis.text(x + 0.5, y + 0.86, text, ha="center", va="center", fontsize=6.5, style="italic")
        peers = ranked[ranked["column"] == cell["column"]]["mean"] if by_column else ranked["mean"]
        if math.isnan(cell["mean"]):
            _unfinished(axis, layout, x, y)
            continue
        reference = cell["row"] in below
        _colour(axis, x, y, 0.0 if reference else _strength(cell["mean"], peers))
        if layout.cell >= _NUMBER:
            order = _order(cell["mean"], peers) if rank and not reference else None
            _numbers(axis, layout, x, y - lift, cell, order)
    _rules(axis, layout, below)
    layout.label(axis)
    axis.grid(False)
    axis.spines[:].set_visible(False)


def _strength(mean: float, peers: pd.Series) -> float:
    """Opacity of a cell's colour."""
    spread = peers.max() - peers.min()
    return 0.05 + 0.4 * float((mean - peers.min()) / spread if spread > 0 else 0)


def _order(mean: float, peers: pd.Series) -> int | None:
    """0 for the best, 1 for the second; None if there is nothing to compare with."""
    return int((peers > mean).sum()) if len(peers) > 1 else None


def _colour(axis: Axes, x: int, y: int, alpha: float) -> None:
    from matplotlib.patches import Rectangle

    axis.add_patch(Rectangle((x, y), 1, 1, facecolor=style.HEAT, alpha=alpha, linewidth=0))


def _unfinished(axis: Axes, layout: HeatLayout, x: int, y: int) -> None:
    from matplotlib.patches import Rectangle

    hatched: dict[str, Any] = {"facecolor": "none", "edgecolor": style.GRID, "hatch": "////"}
    axis.add_patch(Rectangle((x, y), 1, 1, linewidth=0, **hatched))
    if layout.cell > 2 * _NUMBER:
        axis.text(x + 0.5, y + 0.43, "not finished", ha="center", fontsize=7, color=style.MUTED)


def _numbers(
    axis: Axes, layout: HeatLayout, x: int, y: float, cell: Mapping[str, float], order: int | None
) -> None:
    """The mean, bold or underlined by its order, over a note with the interval and n."""
    centred: dict[str, Any] = {"ha": "center", "va": "center"}
    weight = "bold" if order == 0 else "normal"
    axis.text(x + 0.5, y + 0.43, f"{cell['mean']:.1f}", fontsize=10, weight=weight, **centred)
    if order == 1:
        axis.plot([x + 0.36, x + 0.64], [y + 0.6] * 2, color=style.INK, linewidth=0.9)
    half, seeds = (cell["high"] - cell["low"]) / 2, f"n = {cell['n']:.0f}"
    if cell["n"] == 0:  # published values have neither
        note = ""
    elif math.isnan(half):
        note = seeds
    else:
        note = f"± {half:.1f}" if layout.tight else f"± {half:.1f}, {seeds}"
    axis.text(x + 0.5, y + 0.77, note, fontsize=6.5, color=style.MUTED, **centred)


def _rules(axis: Axes, layout: HeatLayout, below: Sequence[str]) -> None:
    """Lines between the cells; a darker one above the references."""
    for y in range(1, len(layout.rows)):
        heavy = layout.rows[y] in below and layout.rows[y - 1] not in below
        axis.axhline(y, color=style.MUTED if heavy else style.PAPER, linewidth=1)
    for x in range(1, len(layout.columns)):
        axis.axvline(x, color=style.PAPER, linewidth=1)


def heat_canvas(
    rows: int, columns: int, width: float, longest: int, height: float = 0.46
) -> tuple[Canvas, Axes]:
    """A canvas for a heat map.

    Args:
        width: the most it may take, in inches.
        longest: letters of the longest row name.
        height: of a cell, in inches.
    """
    from matplotlib.figure import Figure as Canvas

    wide = min(width, 0.075 * longest + 1.3 * columns + 0.4)
    canvas = Canvas(
        figsize=(max(wide, NARROW if width <= NARROW else 4), height * rows + 0.6), layout="constrained"
    )
    return canvas, canvas.add_subplot()
