"""Self-supervised against supervised pretraining: across domains, from scarce and imbalanced images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.figures.base import (
    Drawn,
    Subject,
    domain_panels,
    gaps_text,
    in_points,
    line,
    panels,
    points,
    seeds_text,
)
from ssl_sweep.sweep.report.figures.choose import (
    at_most_labels,
    hold,
    judged,
    main_method,
    one_budget,
    pretrained,
    undamaged,
)
from ssl_sweep.sweep.report.frame import complete, in_domain
from ssl_sweep.sweep.report.statistics import paired_difference

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

SUPERVISED = "supervised"
_TRANSFER = Subject(
    "other sources",
    "transfer",
    "Transfer: self-supervised minus supervised pretraining, own domain and others",
)
_SCARCITY = Subject(
    "other sources",
    "scarcity",
    "Scarce pretraining images: self-supervised minus supervised pretraining, by their number",
)
_IMBALANCE = Subject("beyond", "imbalance", "Imbalanced pretraining images, at an equal number")


def draw(frame: pd.DataFrame) -> list[Drawn]:
    return [by_domain(frame), by_scarcity(frame), by_imbalance(frame)]


def _pair(rows: pd.DataFrame) -> tuple[pd.DataFrame, str | None]:
    """Rows of the self-supervised method and of supervised pretraining; no name if one is missing."""
    method = main_method(rows)
    both = rows[rows["method"].isin([method, SUPERVISED])]
    return both, method if method and (both["method"] == SUPERVISED).any() else None


def _of_both(rows: pd.DataFrame) -> pd.DataFrame:
    """The questions that the grid asks of both methods; a question to one method only is not a gap."""
    question = ["pretrain_domain", "eval_domain", "images", "n_labels"]
    return rows[rows.groupby(question)["method"].transform("nunique") == 2]


def by_domain(frame: pd.DataFrame) -> Drawn:
    rows, method = _pair(pretrained(undamaged(judged(frame, "linear"))))
    rows = _of_both(rows[~rows["pretrain_domain"].str.contains("+", regex=False)])
    if method is None or not (rows["pretrain_domain"] != rows["eval_domain"]).any():
        return _TRANSFER.gap(
            "`method: [simclr, supervised]` in a pretrain block on several domains, each evaluated on all"
        )
    rows = rows[rows["images"] == rows.groupby("pretrain_domain")["images"].transform("max")]
    rows, budget = one_budget(rows)
    rows, held = hold(rows, ["method", "pretrain_domain", "eval_domain"])
    table = _differences(rows, method, ["pretrain_domain", "eval_domain"])
    table["own"] = table["pretrain_domain"] == table["eval_domain"]
    caption = (
        f"Right of 0, {style.method_name(method)} pretraining gives the better linear probe{budget}. Left of"
        " 0, supervised pretraining on the same images with their labels does. Filled: evaluated on the"
        " domain of the pretraining; open: on another. If self-supervised features transfer better, open"
        f" marks lie further right than filled ones. {_notes(table, held)}"
    )

    def picture(width: float) -> Canvas:
        marks = table.sort_values(["own", "eval_domain", "pretrain_domain"]).to_dict("records")
        canvas, (axis,) = panels(1, width, height=0.9 + 0.27 * len(marks))
        names = []
        for y, row in enumerate(marks):
            _difference_mark(axis, row, y, style.hue(0), filled=bool(row["own"]))
            name = f"{style.short(row['pretrain_domain'])} → {style.short(row['eval_domain'])}"
            names.append(name.replace(" → ", "\n→ ") if len(name) > 24 and width < 5 else name)
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(-0.7, len(names) - 0.3)
        axis.grid(axis="y", visible=False)
        axis.axvline(0, color=style.MUTED, linewidth=1)
        axis.set_xlabel(f"{style.method_name(method)} − supervised, points")
        return canvas

    return _TRANSFER.figure(caption, table, picture)


def by_scarcity(frame: pd.DataFrame) -> Drawn:
    rows, method = _pair(pretrained(undamaged(judged(frame, "linear"))))
    rows = _of_both(rows[~rows["pretrain_domain"].str.contains("+", regex=False)])
    sizes = rows.groupby(["pretrain_domain", "eval_domain", "n_labels"])["images"].nunique()
    if method is None or not (sizes > 1).any():
        return _SCARCITY.gap(
            "`method: [simclr, supervised]` with several `images: [500, 2k, 8k]` in a pretrain block"
        )
    rows, budget = one_budget(rows)
    rows, held = hold(rows, ["method", "pretrain_domain", "eval_domain", "images"])
    table = _differences(rows, method, ["pretrain_domain", "eval_domain", "images"])
    own = table["pretrain_domain"] == table["eval_domain"]
    table["line"] = own.map({True: "own domain", False: "another domain"})
    table = table[table.groupby(["pretrain_domain", "eval_domain"])["images"].transform("nunique") > 1]
    caption = (
        f"Above 0, {style.method_name(method)} pretraining gives the better linear probe{budget}. If"
        " self-supervised pretraining suffers less from scarce images, the lines fall from left to right."
        f" Solid: evaluated on the domain of the pretraining; dotted: on another. {_notes(table, held)}"
    )
    sources = sorted(table["pretrain_domain"].unique())

    def panel(axis: Axes, domain: str, part: pd.DataFrame) -> None:
        style.log_counts(axis, sorted(part["images"].unique()), "pretraining images")
        for i, source in enumerate(sources):
            drawn, label = part[part["pretrain_domain"] == source], f"from {style.short(source)}"
            if len(drawn):
                dashes = "-" if source == domain else ":"
                line(axis, drawn, "images", style.hue(i), style.marker(i), dashes, position=i, label=label)
        axis.axhline(0, color=style.MUTED, linewidth=1)

    ylabel = f"{style.method_name(method)} − supervised, points"
    return _SCARCITY.figure(caption, table, domain_panels(table, panel, ylabel=ylabel))


def by_imbalance(frame: pd.DataFrame) -> Drawn:
    rows, method = _pair(in_domain(pretrained(judged(frame, "linear"))))
    rows = rows[rows["corruption"].isin(["none", ""])]
    uneven = rows[rows["imbalance"] > 1]
    method = method or main_method(uneven)
    if uneven.empty or method is None:
        return _IMBALANCE.gap(
            "`imbalance: [1, 10, 100]` with `method: [simclr, supervised]` and a fixed number of `images` in"
            " a pretrain block"
        )
    pairs = uneven[["eval_domain", "images"]].drop_duplicates()
    rows = at_most_labels(rows.merge(pairs, on=["eval_domain", "images"]))
    largest = rows.groupby("eval_domain")["images"].transform("max")
    rows, held = hold(rows[rows["images"] == largest], ["eval_domain", "method", "imbalance"])
    table = points(rows, ["eval_domain", "method", "imbalance"])
    caption = (
        "Linear-probe top-1 by imbalance of the pretraining images: how many times more images the largest"
        " class has than the smallest, at the same total. The probe's labels and the test images are not"
        " imbalanced. If self-supervised pretraining suffers less from imbalance, its line falls less."
        f" {seeds_text(table)}.{held}{gaps_text(table)}"
    )

    def panel(axis: Axes, domain: str, part: pd.DataFrame) -> None:
        style.log_counts(axis, sorted(part["imbalance"].unique()), "imbalance of the pretraining images")
        for i, name in enumerate((method, SUPERVISED)):
            colour, mark = style.method_look(name)
            drawn, label = part[part["method"] == name], style.method_name(name)
            if len(drawn):
                line(axis, drawn, "imbalance", colour, mark, position=i, label=label)

    return _IMBALANCE.figure(caption, table, domain_panels(table, panel))


def _differences(rows: pd.DataFrame, method: str, keys: list[str]) -> pd.DataFrame:
    """Differences in points by ``keys``, paired by seed; NaN if a side is not finished."""
    done = complete(rows)
    records = []
    for key, _ in rows.groupby(keys):
        here = done
        for name, value in zip(keys, key, strict=True):
            here = here[here[name] == value]
        found = paired_difference(here[here["method"] == method], here[here["method"] == SUPERVISED])
        records.append([*key, *in_points(found), 0 if found is None else found.n])
    return pd.DataFrame(records, columns=[*keys, "mean", "low", "high", "n"])


def _difference_mark(axis: Axes, row: dict[str, float], y: float, colour: str, *, filled: bool) -> None:
    if math.isnan(row["mean"]):
        axis.plot([0], [y], "x", color=colour, markersize=5)
        return
    if not math.isnan(row["low"]):
        axis.hlines(y, row["low"], row["high"], color=colour, linewidth=0.9)
    face = colour if filled else style.PAPER
    axis.plot([row["mean"]], [y], "o", color=colour, markerfacecolor=face, markersize=5.5)


def _notes(table: pd.DataFrame, held: str) -> str:
    return f"{seeds_text(table, 'Mean seed-paired difference')}.{held}{gaps_text(table, 'differences')}"
