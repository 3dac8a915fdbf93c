"""What accuracy costs: hours of pretraining (Pareto front), and a score that needs no labels (RankMe)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.figures.base import Drawn, Subject, domain_panels, points, seeds_text
from ssl_sweep.sweep.report.figures.choose import at_most_labels, hold, judged, pretrained, undamaged
from ssl_sweep.sweep.report.frame import complete, in_domain
from ssl_sweep.sweep.report.statistics import Estimate, rank_correlation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HOURS = Subject("beyond", "hours", "Accuracy against pretraining time")
_RANKME = Subject("beyond", "rankme", "A score without labels: RankMe against probe accuracy")
_RECIPE = (
    *("method", "pretrain_domain", "images", "corruption", "epochs", "batch", "encoder"),
    *("views", "head_layers", "imbalance"),
)


def draw(frame: pd.DataFrame) -> list[Drawn]:
    return [hours(frame), rankme(frame)]


def _encoders(frame: pd.DataFrame, fact: str) -> pd.DataFrame:
    """In-domain linear probes at the largest label budget, of encoders whose ``fact`` is known."""
    rows = at_most_labels(complete(in_domain(pretrained(judged(frame, "linear")))))
    return rows[rows[fact].notna()]


def hours(frame: pd.DataFrame) -> Drawn:
    rows = undamaged(_encoders(frame, "train_seconds"))
    ways = rows.groupby("eval_domain")["steps"].nunique() + rows.groupby("eval_domain")["method"].nunique()
    rows = rows[rows["eval_domain"].isin(ways[ways > 2].index)]
    if rows.empty:
        return _HOURS.gap("two or more in-domain pretrainings that differ in size, length or method")
    rows, held = hold(rows, ["eval_domain", *_RECIPE])
    table = points(rows, ["eval_domain", *_RECIPE])
    seconds = rows.groupby(["eval_domain", *_RECIPE], dropna=False)["train_seconds"].mean().reset_index()
    table = table.merge(seconds, on=["eval_domain", *_RECIPE])
    table["pareto"] = False
    for _, group in table.groupby("eval_domain"):
        best = group.sort_values("train_seconds")
        front = best[best["mean"] > best["mean"].cummax().shift(fill_value=-1.0)]
        table.loc[front.index, "pareto"] = True
    caption = (
        f"Each mark is one pretraining recipe. Its time was measured {_device(rows)}. The line joins the"
        " recipes that no cheaper one beats; open marks cost more and reach less. Above and left is better."
        f" Larger marks: more images. {seeds_text(table)}.{held}"
    )
    methods = sorted(table["method"].unique(), key=style.method_order)
    sizes = sorted(table["images"].unique())
    unit, name = (3600, "hours") if table["train_seconds"].max() > 7200 else (60, "minutes")

    def panel(axis: Axes, domain: str, part: pd.DataFrame) -> None:
        part = part.assign(time=part["train_seconds"] / unit)
        front = part[part["pareto"]].sort_values("time")
        steps: dict[str, Any] = {"linewidth": 1, "drawstyle": "steps-post", "zorder": 1}
        axis.plot(front["time"], front["mean"], color=style.MUTED, **steps)
        for method in methods:
            colour, mark = style.method_look(method)
            for _, row in part[part["method"] == method].iterrows():
                axis.vlines(row["time"], row["low"], row["high"], color=colour, linewidth=0.8)
                size = 4 + 5 * sizes.index(row["images"]) / max(1, len(sizes) - 1)
                face = colour if row["pareto"] else style.PAPER
                axis.plot(row["time"], row["mean"], mark, color=colour, markerfacecolor=face, markersize=size)
            axis.plot([], [], mark, color=colour, markersize=6, label=style.method_name(method))
        axis.set_xscale("log")
        _round_ticks(axis, part["time"])
        axis.set_xlabel(f"{name} of pretraining")

    return _HOURS.figure(caption, table, domain_panels(table, panel))


def _device(rows: pd.DataFrame) -> str:
    gpu = rows["train_gpu"].fillna(False).astype(bool)
    if gpu.all():
        return "on a GPU"
    return "on CPU cores or on a GPU, so not all times are comparable" if gpu.any() else "on CPU cores"


def _round_ticks(axis: Axes, values: pd.Series) -> None:
    """A few round ticks on a logarithmic axis, as plain numbers."""
    low, high = values.min() / 1.15, values.max() * 1.15
    steps = [m * 10.0**e for e in range(-3, 5) for m in (1, 2, 5)]
    ticks = [s for s in steps if low <= s <= high]
    ticks = ticks if len(ticks) <= 5 else [t for t in ticks if f"{t:.0e}"[0] == "1"]
    if len(ticks) < 2:
        ticks = [float(f"{t:.2g}") for t in (values.min(), values.max())]
    axis.set_xlim(low, high)
    axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axis.minorticks_off()


def rankme(frame: pd.DataFrame) -> Drawn:
    rows = _encoders(frame, "rankme")
    enough = rows.groupby("eval_domain")["pretrain_id"].nunique()
    if not (enough >= 4).any():
        return _RANKME.gap("four or more in-domain encoders with RankMe, which training measures (`watch`)")
    rows = rows[rows["eval_domain"].isin(enough[enough >= 4].index)]
    rows, held = hold(rows, ["eval_domain", "pretrain_id"])
    keys = ["eval_domain", "method", "pretrain_id", "images", "corruption", "pretrain_seed"]
    table = (
        rows.groupby(keys, dropna=False).agg(mean=("top1", "mean"), rankme=("rankme", "first")).reset_index()
    )
    table["mean"] *= 100
    ranks = {d: rank_correlation(g["rankme"], g["mean"]) for d, g in table.groupby("eval_domain")}
    correlations = ", ".join(f"{d} {_with_interval(r)} of {r.n} encoders" for d, r in ranks.items())
    caption = (
        "Each mark is one trained encoder. RankMe is the effective rank of its features and needs no labels."
        " If it rises with accuracy, it can choose an encoder before anything is labelled. Spearman's rank"
        f" correlation with its 95 % interval: {correlations}. A correlation of few encoders with similar"
        f" recipes says little.{held}"
    )
    methods = sorted(table["method"].unique(), key=style.method_order)

    def panel(axis: Axes, domain: str, part: pd.DataFrame) -> None:
        for method in methods:
            colour, mark = style.method_look(method)
            drawn, label = part[part["method"] == method], style.method_name(method)
            if len(drawn):
                axis.plot(drawn["rankme"], drawn["mean"], mark, color=colour, alpha=0.75, label=label)
        axis.set_title(f"{style.short(domain)} · ρ = {_with_interval(ranks[domain])}")
        axis.set_xlabel("RankMe")

    return _RANKME.figure(caption, table, domain_panels(table, panel))


def _with_interval(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return f"{found.mean:.2f}"
    return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"
