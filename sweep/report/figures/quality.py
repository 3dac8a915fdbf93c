"""What bad pretraining images cost: points lost by corruption (Cole et al. Fig. 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.figures.base import (
    Drawn,
    Subject,
    gaps_text,
    in_points,
    legend,
    panels,
    seeds_text,
)
from ssl_sweep.sweep.report.figures.choose import at_most_labels, hold, judged, main_method, pretrained
from ssl_sweep.sweep.report.figures.lines import of_panel
from ssl_sweep.sweep.report.frame import complete, in_domain
from ssl_sweep.sweep.report.statistics import paired_difference

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_CORRUPTION = Subject("quality", "corruption", "Image quality: what corrupted pretraining images cost")


def draw(frame: pd.DataFrame) -> list[Drawn]:
    rows = in_domain(pretrained(judged(frame, "linear")))
    rows = rows[rows["imbalance"] == 1]
    damaged = rows[~rows["corruption"].isin(["none", ""])]
    method = main_method(damaged)
    if method is None:
        return [
            _CORRUPTION.gap(
                "pretrain on damaged images: `corruption: [none, downsample-2x, downsample-4x, jpeg,"
                " salt-and-pepper]`"
            )
        ]
    rows = rows[
        rows["eval_domain"].isin(damaged["eval_domain"]) & rows["method"].isin([method, "supervised"])
    ]
    largest = rows[rows["corruption"] != "none"].groupby("eval_domain")["images"].max()
    rows = at_most_labels(rows[rows["images"] == rows["eval_domain"].map(largest)])
    rows, held = hold(rows, ["eval_domain", "method", "corruption"])
    table = _drops(rows)
    caption = (
        f"Points of top-1 lost if only the pretraining images are damaged, {style.method_name(method)}"
        " against supervised pretraining. A linear probe is trained and tested on clean images. Further right"
        f" is worse; 0 is no loss.{_ratios(table, method)}"
        f" {seeds_text(table, 'Mean seed-paired difference')}.{held}{gaps_text(table, 'drops')}"
    )
    return [_CORRUPTION.figure(caption, table, drops_picture(table, method))]


def _drops(rows: pd.DataFrame) -> pd.DataFrame:
    """Points lost by domain, method and corruption, paired by seed; NaN if a side is not finished."""
    records = []
    for (domain, method), group in rows.groupby(["eval_domain", "method"]):
        done = complete(group)
        clean = done[done["corruption"] == "none"]
        for corruption, cells in group[group["corruption"] != "none"].groupby("corruption"):
            found = paired_difference(clean, done[done["corruption"] == corruption])
            n = 0 if found is None else found.n
            records.append([domain, method, corruption, *in_points(found), n, cells["cell_id"].nunique()])
    columns = ["eval_domain", "method", "corruption", "mean", "low", "high", "n", "cells"]
    return pd.DataFrame(records, columns=columns)


def _ratios(table: pd.DataFrame, method: str) -> str:
    """How many times more the self-supervised method loses, if the supervised drop is surely above 0."""
    wide = table.pivot_table(index=["eval_domain", "corruption"], columns="method", values="mean")
    if "supervised" not in wide:
        return " The sweep has no supervised pretraining to compare with."
    if method not in wide:
        return ""
    sure = table[(table["method"] == "supervised") & (table["low"] > 0)].set_index(wide.index.names).index
    known = wide[wide.index.isin(sure) & wide[method].notna()]
    if known.empty:
        return ""
    ratios = [f"{c} on {d} {row[method] / row['supervised']:.1f}×" for (d, c), row in known.iterrows()]
    unsure = " (no ratio if the interval of the supervised drop includes 0)"
    return f" Ratio of the drops: {', '.join(ratios)}{unsure if len(known) < len(wide) else ''}."


def drops_picture(table: pd.DataFrame, method: str) -> Callable[..., Canvas]:
    """Draws the drops of ``method`` and of supervised pretraining, one panel per evaluation domain."""

    def picture(width: float, published: pd.DataFrame | None = None) -> Canvas:
        domains = sorted(table["eval_domain"].unique())
        main = table[table["method"] == method].groupby("corruption")["mean"].mean()
        order = list(main.sort_values(ascending=True, na_position="first").index)
        order = [c for c in table["corruption"].unique() if c not in order] + order
        each = 0.42 if published is None else 0.54
        canvas, axes = panels(len(domains), width, per_row=3, height=0.62 + each * len(order))
        for axis, domain in zip(axes, domains, strict=True):
            part = table[table["eval_domain"] == domain]
            for shift, name in ((0.14, method), (-0.14, "supervised")):
                _rows(axis, part[part["method"] == name], order, shift, name)
                _open_marks(axis, of_panel(published, eval_domain=domain, method=name), order, shift, name)
            axis.axvline(0, color=style.MUTED, linewidth=1)
            axis.set_yticks(range(len(order)), [style.short(name, 22) for name in order])
            axis.set_ylim(-0.6, len(order) - 0.4)
            axis.grid(axis="y", visible=False)
            axis.set_title(style.short(domain))
            axis.set_xlabel("points of top-1 lost")
        left, right = min(a.get_xlim()[0] for a in axes), max(a.get_xlim()[1] for a in axes)
        for axis in axes:
            axis.set_xlim(left, right)
        legend(canvas, axes)
        return canvas

    return picture


def _rows(axis: Axes, part: pd.DataFrame, order: list[str], shift: float, name: str) -> None:
    if part.empty:
        return
    colour, mark = style.method_look(name)
    at = part["corruption"].map(order.index) + shift
    known = part["mean"].notna()
    axis.hlines(at[known], 0, part["mean"][known], color=colour, linewidth=4, alpha=0.28)
    bars = part["low"].notna()
    axis.hlines(at[bars], part["low"][bars], part["high"][bars], color=colour, linewidth=0.9)
    axis.plot(part["mean"][known], at[known], mark, color=colour, markersize=5, label=style.method_name(name))
    axis.plot([0.0] * int((~known).sum()), at[~known], "x", color=colour, markersize=5)


def _open_marks(axis: Axes, part: pd.DataFrame, order: list[str], shift: float, name: str) -> None:
    """Draw the published drops with their numbers."""
    if part.empty:
        return
    colour, mark = style.method_look(name)
    at = part["corruption"].map(order.index) + shift
    label = f"Cole et al., {part['published_on'].iloc[0]}: {style.method_name(name)}"
    axis.plot(part["mean"], at, mark, color=colour, markerfacecolor="none", label=label, zorder=3)
    side = "bottom" if shift > 0 else "top"
    for value, y in zip(part["mean"], at, strict=True):
        axis.annotate(
            f"{value:.1f}", (value, y), xytext=(0, 3 if shift > 0 else -3), textcoords="offset points",
            ha="center", va=side, fontsize=6.5, color=style.MUTED,
        )  # fmt: skip
