"""What bad pretraining images cost: drop in top-1 by corruption, label-free and supervised (Cole et al. Fig.
4)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.figures.base import Drawn, Figure, Gap, legend, panels, seeds_text
from ssl_sweep.sweep.report.figures.choose import (
    at_most_labels,
    hold,
    in_domain,
    judged,
    main_method,
    pretrained,
)
from ssl_sweep.sweep.report.figures.overlay import of_panel
from ssl_sweep.sweep.report.frame import complete
from ssl_sweep.sweep.report.statistics import paired_difference

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


def draw(frame: pd.DataFrame) -> list[Drawn]:
    title = "Image quality: what corrupted pretraining images cost"
    rows = in_domain(pretrained(judged(frame, "linear")))
    rows = rows[rows["imbalance"] == 1]
    damaged = rows[~rows["corruption"].isin(["none", ""])]
    method = main_method(damaged)
    if method is None:
        reason = (
            "pretrain on damaged images: `corruption: [none, downsample-2x, downsample-4x, jpeg,"
            " salt-and-pepper]`"
        )
        return [Gap(section="quality", name="corruption", title=title, reason=reason)]
    rows = rows[
        rows["eval_domain"].isin(damaged["eval_domain"]) & rows["method"].isin([method, "supervised"])
    ]
    largest = rows[rows["corruption"] != "none"].groupby("eval_domain")["images"].max()
    rows = at_most_labels(rows[rows["images"] == rows["eval_domain"].map(largest)])
    rows, held = hold(rows, ["eval_domain", "method", "corruption"])
    table = _drops(rows)
    ratios = _ratios(table, method)
    caption = (
        f"Points of top-1 lost when only the pretraining images are damaged, {style.method_name(method)}"
        f" against supervised pretraining; both"
        f" then judged by a linear probe trained and tested on clean images. Further right is worse, 0 is"
        f" no loss.{ratios}"
        f" {seeds_text(table, 'Mean seed-paired difference')}.{held}{_gaps(table)}"
    )
    picture = drops_picture(table, method)
    return [
        Figure(section="quality", name="corruption", title=title, caption=caption, data=table, draw=picture)
    ]


def _drops(rows: pd.DataFrame) -> pd.DataFrame:
    records = []
    for (domain, method), group in rows.groupby(["eval_domain", "method"]):
        done = complete(group)
        for corruption, cells in group[group["corruption"] != "none"].groupby("corruption"):
            found = paired_difference(
                done[done["corruption"] == "none"], done[done["corruption"] == corruption]
            )
            values = [math.nan] * 3 if found is None else [found.mean, found.low, found.high]
            values = [math.nan if v is None else 100 * v for v in values]
            n = 0 if found is None else found.n
            records.append([domain, method, corruption, *values, n, cells["cell_id"].nunique()])
    return pd.DataFrame(
        records, columns=["eval_domain", "method", "corruption", "mean", "low", "high", "n", "cells"]
    )


def _ratios(table: pd.DataFrame, method: str) -> str:
    """How many times more the label-free method loses, where the supervised drop is surely above nothing."""
    wide = table.pivot_table(index=["eval_domain", "corruption"], columns="method", values="mean")
    sure = set(
        table[(table["method"] == "supervised") & (table["low"] > 0)].set_index(wide.index.names).index
    )
    if "supervised" not in wide or method not in wide:
        return " The sweep has no supervised pretraining to compare with." if "supervised" not in wide else ""
    known = wide[wide.index.isin(sure) & wide[method].notna()]
    said = [f"{c} on {d} {row[method] / row['supervised']:.1f}×" for (d, c), row in known.iterrows()]
    rest = (
        "" if len(known) == len(wide) else " (no ratio where the interval of the supervised drop has 0 in it)"
    )
    return f" Ratio of the drops: {', '.join(said)}{rest}." if said else ""


def _gaps(table: pd.DataFrame) -> str:
    missing = int(table["mean"].isna().sum())
    return f" {missing} of {len(table)} drops cannot be formed yet (marked ×)." if missing else ""


def drops_picture(table: pd.DataFrame, method: str):  # type: ignore[no-untyped-def]
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
        legend(canvas, axes, width)
        return canvas

    return picture


def _rows(axis, part: pd.DataFrame, order: list[str], shift: float, name: str) -> None:  # type: ignore[no-untyped-def]
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


def _open_marks(axis, part: pd.DataFrame, order: list[str], shift: float, name: str) -> None:  # type: ignore[no-untyped-def]
    """What was published, with its number."""
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
