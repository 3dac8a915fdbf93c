"""Beyond the paper: the gain of the next doubling of images, and the labels that pretraining saves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.curves import (
    FEWER,
    NOT_REACHED,
    NotFitted,
    PowerLaw,
    crossover,
    fit_power_law,
    labels_saved,
)
from ssl_sweep.sweep.report.figures.base import (
    Drawn,
    Subject,
    crossing_text,
    domain_panels,
    gaps_text,
    line,
    points,
    seeds_text,
)
from ssl_sweep.sweep.report.figures.choose import (
    at_most_labels,
    hold,
    judged,
    main_method,
    own_images,
    undamaged,
)
from ssl_sweep.sweep.report.frame import complete, in_domain, scratch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SCALING = Subject("beyond", "scaling", "More images: the fitted curve and its next doubling")
_SAVED = Subject(
    "beyond", "labels-saved", "Labels saved: how many labels pretraining needs for what labels alone reach"
)


def draw(frame: pd.DataFrame) -> list[Drawn]:
    return [power_law(frame), saved(frame)]


def power_law(frame: pd.DataFrame) -> Drawn:
    rows = undamaged(judged(frame, "linear"))
    method = main_method(in_domain(rows))
    own = own_images(rows, method)
    sizes = own.groupby("eval_domain")["images"].nunique()
    own = own[own["eval_domain"].isin(sizes[sizes > 1].index)]
    if own.empty:
        return _SCALING.gap(
            "pretrain one domain at four or more sizes with three seeds: `images: [1k, 2k, 4k, 8k]`,"
            " `seed: [0, 1, 2]`"
        )
    own, held = hold(at_most_labels(own), ["eval_domain", "images"])
    table = points(own, ["eval_domain", "images"])
    fits = {str(d): fit_power_law(complete(group)) for d, group in own.groupby("eval_domain")}
    table["fitted"] = [
        _at(fits[str(d)], n) for d, n in zip(table["eval_domain"], table["images"], strict=True)
    ]
    labels = ", ".join(
        f"{d} {style.count(n)}" for d, n in own.groupby("eval_domain")["n_labels"].first().items()
    )
    caption = (
        f"{style.method_name(method)}, linear probe at the largest label budget ({labels}), by number of"
        " pretraining images. Curve: accuracy = ceiling − scale · images^(−exponent). The dotted part is one"
        f" more doubling. {_fits_text(fits)} {seeds_text(table)}.{held}{gaps_text(table)}"
    )

    def panel(axis: Axes, domain: str, part: pd.DataFrame) -> None:
        fit = fits[domain]
        style.log_counts(axis, [*part["images"].unique(), 2 * part["images"].max()], "pretraining images")
        line(axis, part, "images", style.hue(0), dashes="none" if isinstance(fit, PowerLaw) else "-")
        if isinstance(fit, PowerLaw):
            _curve(axis, fit)

    return _SCALING.figure(caption, table, domain_panels(table, panel, per_row=4))


def _at(fit: PowerLaw | NotFitted, images: float) -> float:
    return 100 * fit(images) if isinstance(fit, PowerLaw) else float("nan")


def _curve(axis: Axes, fit: PowerLaw) -> None:
    first, last = fit.sizes[0], fit.sizes[-1]
    for low, high, dashes in ((first, last, "-"), (last, 2 * last, ":")):
        x = np.geomspace(low, high, 40)
        axis.plot(x, [100 * fit(n) for n in x], dashes, color=style.hue(0), linewidth=1.4)
    gain = fit.next_gain
    end = 100 * fit(2 * last)
    if gain.low is not None and gain.high is not None:
        base = 100 * fit(last)
        axis.vlines(
            2 * last, base + 100 * gain.low, base + 100 * gain.high, color=style.hue(0), linewidth=0.9
        )
    axis.plot([2 * last], [end], "o", color=style.hue(0), markerfacecolor=style.PAPER)
    axis.annotate(
        f"next doubling {100 * gain.mean:+.1f} points", (0.98, 0.04), xycoords="axes fraction", ha="right",
        fontsize=8, color=style.INK,
    )  # fmt: skip


def _fits_text(fits: dict[str, PowerLaw | NotFitted]) -> str:
    return " ".join(f"{domain}: {_fit_text(fit)}." for domain, fit in fits.items())


def _fit_text(fit: PowerLaw | NotFitted) -> str:
    if isinstance(fit, NotFitted):
        return fit.reason
    gain = fit.next_gain
    span = ""
    if gain.low is not None and gain.high is not None:
        span = f" [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
    return f"next doubling {100 * gain.mean:+.1f} points{span}, n = {gain.n}; {_ceiling(fit)}"


def _ceiling(fit: PowerLaw) -> str:
    low, high = (100 * value for value in fit.ceilings)
    if round(low) >= 100:
        return "no ceiling in sight (no fit levels off below 100 %)"
    if high - low > 10 or high >= 100:
        return f"no ceiling in sight ({low:.0f} to {high:.0f} % by seed)"
    return f"ceiling {low:.0f} to {high:.0f} % by seed"


def saved(frame: pd.DataFrame) -> Drawn:
    rows = undamaged(judged(frame, None))
    method = main_method(in_domain(rows))
    own = own_images(rows, method)
    own = own[own["images"] == own.groupby("eval_domain")["images"].transform("max")]
    own, held = hold(own, ["eval_domain", "protocol", "n_labels"])
    alone, _ = hold(scratch(rows), ["eval_domain", "n_labels"])
    crossings: dict[str, list[str]] = {}
    tables, reasons = [], []
    for (domain, protocol), group in own[own["protocol"].isin(["linear", "fine-tune"])].groupby(
        ["eval_domain", "protocol"]
    ):
        other = complete(alone[alone["eval_domain"] == domain])
        if other.empty:
            continue
        mine = complete(group)
        found = labels_saved(mine, other)
        crossings.setdefault(crossing_text(crossover(mine, other)), []).append(f"{domain} {protocol}")
        if isinstance(found, NotFitted):
            reasons.append(found.reason)
        else:
            tables.append(found.assign(eval_domain=domain, protocol=protocol))
    if not tables:
        why = reasons[0] if reasons else "no from-scratch cells"
        return _SAVED.gap(
            "`method: random` with `protocol: fine-tune` at several `labels`, beside an in-domain pretraining"
            f" ({why})"
        )
    table = pd.concat(tables, ignore_index=True)
    overtaken = "; ".join(f"{text} ({', '.join(places)})" for text, places in crossings.items())
    table["factor"] = table["labels"] / table["needed"]
    caption = (
        "Across: label budgets of training from scratch. Up: the label budget at which"
        f" {style.method_name(method)} pretraining reaches the same accuracy, interpolated on a logarithmic"
        " scale. Below the dotted diagonal pretraining saves labels. ▽ at the foot: fewer labels than the"
        f" smallest budget are enough. △ at the top: the largest budget is not enough.{_equal(table)}"
        f" Training from scratch overtakes: {overtaken}. n = {_seeds(table)} pretraining seeds; bars are 95 %"
        f" intervals.{held}"
    )

    def panel(axis: Axes, domain: str, part: pd.DataFrame) -> None:
        every = sorted(part["labels"].unique())
        style.log_counts(axis, every, "labels, from scratch")
        low, high = every[0], every[-1]
        axis.set_yscale("log")
        axis.plot([low, high], [low, high], ":", color=style.MUTED, linewidth=1)
        for i, protocol in enumerate(("linear", "fine-tune")):
            _needed(axis, part[part["protocol"] == protocol], i, protocol)
        axis.set_ylim(low / 2.2, high * 2.2)
        axis.set_yticks(axis.get_xticks(), [t.get_text() for t in axis.get_xticklabels()])
        axis.minorticks_off()

    measured = table[table["needed"].notna()]
    shown = table if measured.empty else table[table["eval_domain"].isin(measured["eval_domain"])]
    picture = domain_panels(shown, panel, ylabel="labels, pretrained", height=3.0, same_range=False)
    return _SAVED.figure(caption, table, picture)


def _equal(table: pd.DataFrame) -> str:
    """The labels saved, as a sentence."""
    pairs = []
    for row in table[table["needed"].notna()].to_dict("records"):
        span = (
            "" if math.isnan(row["low"]) else f" [{style.rounded(row['low'])}, {style.rounded(row['high'])}]"
        )
        pairs.append(
            f"{row['eval_domain']} {row['protocol']} {style.count(row['labels'])} from scratch,"
            f" {style.rounded(row['needed'])} pretrained{span}"
        )
    return f" Labels for equal accuracy: {'; '.join(pairs)}." if pairs else ""


def _needed(axis: Axes, part: pd.DataFrame, i: int, protocol: str) -> None:
    """The line of a protocol; open triangles for what lies outside of the label budgets."""
    if part.empty:
        return
    colour = style.hue(i)
    measured = part[part["needed"].notna()]
    line(axis, measured.assign(mean=measured["needed"]), "labels", colour, style.marker(i), label=protocol)
    foot, top = part["labels"].min() / 1.9 * (1 + 0.12 * i), part["labels"].max() * 1.9
    for reason, height, mark in ((FEWER, foot, "v"), (NOT_REACHED, top, "^")):
        at = part[part["reason"].str.startswith(reason)]["labels"]
        open_mark: dict[str, Any] = {"color": colour, "markerfacecolor": style.PAPER, "markersize": 5}
        axis.plot(at, [height] * len(at), mark, **open_mark)


def _seeds(table: pd.DataFrame) -> str:
    counts = sorted({int(n) for n in table["n"] if n > 0})
    return "0" if not counts else f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
