"""Label-free against supervised pretraining: across domains, from scarce images, from imbalanced images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.figures.base import (
    Drawn,
    Figure,
    Gap,
    gaps_text,
    legend,
    line,
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
    main_method,
    one_budget,
    pretrained,
    undamaged,
)
from ssl_sweep.sweep.report.frame import complete
from ssl_sweep.sweep.report.statistics import paired_difference

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

SUPERVISED = "supervised"


def draw(frame: pd.DataFrame) -> list[Drawn]:
    return [by_domain(frame), by_scarcity(frame), by_imbalance(frame)]


def _pair(rows: pd.DataFrame) -> tuple[pd.DataFrame, str | None]:
    """Rows of the label-free method and of supervised pretraining; no name where one is missing."""
    method = main_method(rows)
    both = rows[rows["method"].isin([method, SUPERVISED])]
    return both, method if method and (both["method"] == SUPERVISED).any() else None


def _asked_of_both(rows: pd.DataFrame) -> pd.DataFrame:
    """The questions that the grid asks of both methods; what it asks of one is no gap."""
    question = ["pretrain_domain", "eval_domain", "images", "n_labels"]
    return rows[rows.groupby(question)["method"].transform("nunique") == 2]


def by_domain(frame: pd.DataFrame) -> Drawn:
    title = "Transfer: label-free minus supervised pretraining, own domain and others"
    rows, method = _pair(pretrained(undamaged(judged(frame, "linear"))))
    rows = rows[~rows["pretrain_domain"].str.contains("+", regex=False)]
    both = _asked_of_both(rows)
    if method is None or not (both["pretrain_domain"] != both["eval_domain"]).any():
        reason = (
            "`method: [simclr, supervised]` in a pretrain block on several domains, each evaluated on all"
        )
        return Gap(section="other sources", name="transfer", title=title, reason=reason)
    rows = _asked_of_both(rows)
    rows = rows[rows["images"] == rows.groupby("pretrain_domain")["images"].transform("max")]
    rows, budget = one_budget(rows)
    rows, held = hold(rows, ["method", "pretrain_domain", "eval_domain"])
    table = _differences(rows, method, ["pretrain_domain", "eval_domain"])
    table["own"] = table["pretrain_domain"] == table["eval_domain"]
    caption = (
        f"Right of 0, {style.method_name(method)} pretraining gives the better linear probe{budget}; left of"
        " it, supervised pretraining on the same images"
        " with their labels. Filled: pretrained on the domain it is judged in; open: on another. If"
        " label-free features"
        f" bear a domain gap better, open marks lie further right than filled ones."
        f" {_paired_text(table)}.{held}{_missing(table)}"
    )

    def picture(width: float) -> Canvas:
        table_here = table.assign(
            name=[
                f"{style.short(a)} → {style.short(b)}"
                for a, b in zip(table["pretrain_domain"], table["eval_domain"], strict=True)
            ]
        )
        table_here = table_here.sort_values(["own", "eval_domain", "pretrain_domain"])
        canvas, (axis,) = panels(1, width, height=0.9 + 0.27 * len(table_here))
        for y, row in enumerate(table_here.to_dict("records")):
            _difference_mark(axis, row, y, style.hue(0), filled=bool(row["own"]))
        names = table_here["name"].tolist()
        axis.set_yticks(
            range(len(names)), [n.replace(" → ", "\n→ ") if len(n) > 24 and width < 5 else n for n in names]
        )
        axis.set_ylim(-0.7, len(table_here) - 0.3)
        axis.grid(axis="y", visible=False)
        axis.axvline(0, color=style.MUTED, linewidth=1)
        axis.set_xlabel(f"{style.method_name(method)} − supervised, points")
        return canvas

    return Figure(
        section="other sources", name="transfer", title=title, caption=caption, data=table, draw=picture
    )


def by_scarcity(frame: pd.DataFrame) -> Drawn:
    title = "Scarce pretraining images: label-free minus supervised pretraining, by their number"
    rows, method = _pair(pretrained(undamaged(judged(frame, "linear"))))
    rows = rows[~rows["pretrain_domain"].str.contains("+", regex=False)]
    sizes = _asked_of_both(rows).groupby(["pretrain_domain", "eval_domain", "n_labels"])["images"].nunique()
    if method is None or not (sizes > 1).any():
        reason = "`method: [simclr, supervised]` with several `images: [500, 2k, 8k]` in a pretrain block"
        return Gap(section="other sources", name="scarcity", title=title, reason=reason)
    rows, budget = one_budget(_asked_of_both(rows))
    rows, held = hold(rows, ["method", "pretrain_domain", "eval_domain", "images"])
    table = _differences(rows, method, ["pretrain_domain", "eval_domain", "images"])
    table["line"] = [
        "own domain" if own else "another domain" for own in table["pretrain_domain"] == table["eval_domain"]
    ]
    table = table[table.groupby(["pretrain_domain", "eval_domain"])["images"].transform("nunique") > 1]
    caption = (
        f"Above 0, {style.method_name(method)} pretraining gives the better linear probe{budget}. If"
        " label-free pretraining bears scarcity better, the lines"
        f" fall from left to right. Solid: judged in its own domain; dotted: in another."
        f" {_paired_text(table)}.{held}{_missing(table)}"
    )

    def picture(width: float) -> Canvas:
        domains = sorted(table["eval_domain"].unique())
        sources = sorted(table["pretrain_domain"].unique())
        canvas, axes = panels(len(domains), width, per_row=3)
        for axis, domain in zip(axes, domains, strict=True):
            part = table[table["eval_domain"] == domain]
            style.log_counts(axis, sorted(part["images"].unique()), "pretraining images")
            for i, source in enumerate(sources):
                drawn = part[part["pretrain_domain"] == source]
                if len(drawn):
                    dashes = "-" if source == domain else ":"
                    line(
                        axis,
                        drawn,
                        "images",
                        style.hue(i),
                        style.marker(i),
                        dashes,
                        position=i,
                        label=f"from {style.short(source)}",
                    )
            axis.axhline(0, color=style.MUTED, linewidth=1)
            axis.set_title(style.short(domain))
        same_limits(axes)
        axes[0].set_ylabel(f"{style.method_name(method)} − supervised, points")
        legend(canvas, axes, width)
        return canvas

    return Figure(
        section="other sources", name="scarcity", title=title, caption=caption, data=table, draw=picture
    )


def by_imbalance(frame: pd.DataFrame) -> Drawn:
    title = "Imbalanced pretraining images, at an equal number"
    rows, method = _pair(in_domain(pretrained(judged(frame, "linear"))))
    rows = rows[rows["corruption"].isin(["none", ""])]
    uneven = rows[rows["imbalance"] > 1]
    if uneven.empty or method is None:
        method = method or main_method(uneven)
    if uneven.empty or method is None:
        reason = (
            "`imbalance: [1, 10, 100]` with `method: [simclr, supervised]` and a fixed number of `images`"
            " in a pretrain block"
        )
        return Gap(section="beyond", name="imbalance", title=title, reason=reason)
    pairs = uneven[["eval_domain", "images"]].drop_duplicates()
    rows = at_most_labels(rows.merge(pairs, on=["eval_domain", "images"]))
    largest = rows.groupby("eval_domain")["images"].transform("max")
    rows, held = hold(rows[rows["images"] == largest], ["eval_domain", "method", "imbalance"])
    table = points(rows, ["eval_domain", "method", "imbalance"])
    caption = (
        "Linear-probe top-1 by imbalance of the pretraining images: how many times more images the largest"
        " class has than the"
        " smallest, at the same total. The probe's labels and the test stay balanced as they are. If"
        " label-free pretraining"
        f" bears imbalance better, its line falls less."
        f" {seeds_text(table)}.{held}{gaps_text(table)}"
    )

    def picture(width: float) -> Canvas:
        domains = sorted(table["eval_domain"].unique())
        canvas, axes = panels(len(domains), width, per_row=3)
        for axis, domain in zip(axes, domains, strict=True):
            part = table[table["eval_domain"] == domain]
            style.log_counts(axis, sorted(part["imbalance"].unique()), "imbalance of the pretraining images")
            for i, name in enumerate((method, SUPERVISED)):
                colour, mark = style.method_look(name)
                drawn = part[part["method"] == name]
                if len(drawn):
                    line(axis, drawn, "imbalance", colour, mark, position=i, label=style.method_name(name))
            axis.set_title(style.short(domain))
        same_limits(axes)
        axes[0].set_ylabel("top-1 accuracy, %")
        legend(canvas, axes, width)
        return canvas

    return Figure(section="beyond", name="imbalance", title=title, caption=caption, data=table, draw=picture)


def _differences(rows: pd.DataFrame, method: str, keys: list[str]) -> pd.DataFrame:
    """Seed-paired differences in points by `keys`; NaN where a side is not there yet."""
    done = complete(rows)
    records = []
    for key, _ in rows.groupby(keys):
        here = done
        for name, value in zip(keys, key, strict=True):
            here = here[here[name] == value]
        found = paired_difference(here[here["method"] == method], here[here["method"] == SUPERVISED])
        values = [math.nan] * 3 if found is None else [found.mean, found.low, found.high]
        records.append(
            [*key, *(math.nan if v is None else 100 * v for v in values), 0 if found is None else found.n]
        )
    return pd.DataFrame(records, columns=[*keys, "mean", "low", "high", "n"])


def _difference_mark(axis, row: dict[str, object], y: float, colour: str, *, filled: bool) -> None:  # type: ignore[no-untyped-def]
    mean, low = float(str(row["mean"])), float(str(row["low"]))
    if math.isnan(mean):
        axis.plot([0], [y], "x", color=colour, markersize=5)
        return
    if not math.isnan(low):
        axis.hlines(y, low, float(str(row["high"])), color=colour, linewidth=0.9)
    face = colour if filled else style.PAPER
    axis.plot([mean], [y], "o", color=colour, markerfacecolor=face, markersize=5.5)


def _paired_text(table: pd.DataFrame) -> str:
    return seeds_text(table, "Mean seed-paired difference")


def _missing(table: pd.DataFrame) -> str:
    missing = int(table["mean"].isna().sum())
    return f" {missing} of {len(table)} differences cannot be formed yet (marked ×)." if missing else ""
