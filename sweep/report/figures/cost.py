"""What accuracy costs: hours of pretraining (Pareto front), and a score that needs no labels (RankMe)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.figures.base import (
    Drawn,
    Figure,
    Gap,
    legend,
    panels,
    points,
    same_limits,
    seeds_text,
)
from ssl_sweep.sweep.report.figures.choose import (
    at_most_labels,
    hold,
    in_domain,
    judged,
    pretrained,
    undamaged,
)
from ssl_sweep.sweep.report.frame import complete
from ssl_sweep.sweep.report.statistics import Estimate, rank_correlation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_RECIPE = (
    "method",
    "pretrain_domain",
    "images",
    "corruption",
    "epochs",
    "batch",
    "encoder",
    "views",
    "head_layers",
    "imbalance",
)


def draw(frame: pd.DataFrame) -> list[Drawn]:
    return [hours(frame), rankme(frame)]


def _encoders(frame: pd.DataFrame, fact: str) -> pd.DataFrame:
    """In-domain linear probes at the largest budget, of encoders that have the fact."""
    rows = at_most_labels(complete(in_domain(pretrained(judged(frame, "linear")))))
    return rows[rows[fact].notna()]


def hours(frame: pd.DataFrame) -> Drawn:
    title = "Accuracy against pretraining time"
    rows = undamaged(_encoders(frame, "train_seconds"))
    ways = rows.groupby("eval_domain")["steps"].nunique() + rows.groupby("eval_domain")["method"].nunique()
    rows = rows[rows["eval_domain"].isin(ways[ways > 2].index)]
    if rows.empty:
        reason = "two or more pretrainings of one evaluated domain, of different size, length or method"
        return Gap(section="beyond", name="hours", title=title, reason=reason)
    rows, held = hold(rows, ["eval_domain", *_RECIPE])
    table = points(rows, ["eval_domain", *_RECIPE])
    seconds = rows.groupby(["eval_domain", *_RECIPE], dropna=False)["train_seconds"].mean().reset_index()
    table = table.merge(seconds, on=["eval_domain", *_RECIPE])
    table["pareto"] = False
    for _, group in table.groupby("eval_domain"):
        best = group.sort_values("train_seconds")
        front = best[best["mean"] > best["mean"].cummax().shift(fill_value=-1.0)]
        table.loc[front.index, "pareto"] = True
    gpu = rows["train_gpu"].fillna(False).astype(bool)
    where = (
        "on a GPU"
        if gpu.all()
        else "on CPU cores"
        if not gpu.any()
        else "on CPU cores or a GPU, so not all comparable"
    )
    caption = (
        f"Each mark is one way of pretraining, time as its trainings took, {where}. The line joins those"
        f" that nothing"
        f" cheaper beats; open marks cost more for less; above and left is better. Larger marks: more"
        f" images. {seeds_text(table)}.{held}"
    )

    def picture(width: float) -> Canvas:
        domains = sorted(table["eval_domain"].unique())
        canvas, axes = panels(len(domains), width, per_row=3)
        methods = sorted(table["method"].unique(), key=style.method_order)
        sizes = sorted(table["images"].unique())
        unit, name = (3600, "hours") if table["train_seconds"].max() > 7200 else (60, "minutes")
        for axis, domain in zip(axes, domains, strict=True):
            part = table[table["eval_domain"] == domain].assign(time=lambda t: t["train_seconds"] / unit)
            front = part[part["pareto"]].sort_values("time")
            axis.plot(
                front["time"], front["mean"], color=style.MUTED, linewidth=1, drawstyle="steps-post", zorder=1
            )
            for method in methods:
                colour, mark = style.method_look(method)
                for _, row in part[part["method"] == method].iterrows():
                    axis.vlines(row["time"], row["low"], row["high"], color=colour, linewidth=0.8)
                    size = 4 + 5 * sizes.index(row["images"]) / max(1, len(sizes) - 1)
                    face = colour if row["pareto"] else style.PAPER
                    axis.plot(
                        row["time"], row["mean"], mark, color=colour, markerfacecolor=face, markersize=size
                    )
                axis.plot([], [], mark, color=colour, markersize=6, label=style.method_name(method))
            axis.set_xscale("log")
            _plain_log(axis, part["time"])
            axis.set_xlabel(f"{name} of pretraining")
            axis.set_title(style.short(domain))
        same_limits(axes)
        axes[0].set_ylabel("top-1 accuracy, %")
        legend(canvas, axes, width)
        return canvas

    return Figure(section="beyond", name="hours", title=title, caption=caption, data=table, draw=picture)


def _plain_log(axis: Axes, values: pd.Series) -> None:
    """A few round ticks on a log axis, as plain numbers."""
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
    title = "A score without labels: RankMe against probe accuracy"
    rows = _encoders(frame, "rankme")
    enough = rows.groupby("eval_domain")["pretrain_id"].nunique()
    if not (enough >= 4).any():
        reason = "four or more in-domain encoders with RankMe, which is measured while training (`watch`)"
        return Gap(section="beyond", name="rankme", title=title, reason=reason)
    rows = rows[rows["eval_domain"].isin(enough[enough >= 4].index)]
    rows, held = hold(rows, ["eval_domain", "pretrain_id"])
    keys = ["eval_domain", "method", "pretrain_id", "images", "corruption", "pretrain_seed"]
    table = (
        rows.groupby(keys, dropna=False).agg(mean=("top1", "mean"), rankme=("rankme", "first")).reset_index()
    )
    table["mean"] *= 100
    ranks = {d: rank_correlation(g["rankme"], g["mean"]) for d, g in table.groupby("eval_domain")}
    said = ", ".join(f"{d} {_ranked(r)} of {r.n} encoders" for d, r in ranks.items())
    caption = (
        "Each mark is one trained encoder. RankMe is the effective rank of its features, measured without"
        " labels; if it"
        f" rises with accuracy, encoders can be chosen before anything is labelled. Spearman's rank"
        f" correlation, with its 95 % interval: {said}."
        f" Correlations of few encoders of one recipe family say little.{held}"
    )

    def picture(width: float) -> Canvas:
        domains = sorted(table["eval_domain"].unique())
        canvas, axes = panels(len(domains), width, per_row=3)
        methods = sorted(table["method"].unique(), key=style.method_order)
        for axis, domain in zip(axes, domains, strict=True):
            for method in methods:
                colour, mark = style.method_look(method)
                part = table[(table["eval_domain"] == domain) & (table["method"] == method)]
                if len(part):
                    axis.plot(
                        part["rankme"],
                        part["mean"],
                        mark,
                        color=colour,
                        alpha=0.75,
                        label=style.method_name(method),
                    )
            axis.set_title(f"{style.short(domain)} · ρ = {_ranked(ranks[domain])}")
            axis.set_xlabel("RankMe")
        same_limits(axes)
        axes[0].set_ylabel("top-1 accuracy, %")
        legend(canvas, axes, width)
        return canvas

    return Figure(section="beyond", name="rankme", title=title, caption=caption, data=table, draw=picture)


def _ranked(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return f"{found.mean:.2f}"
    return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"
