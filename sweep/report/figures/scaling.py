"""Beyond the paper: what the next doubling of images brings, the budget from which labels alone do as well,
and the labels
that pretraining saves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.curves import NotFitted, PowerLaw, crossover, fit_power_law, labels_saved
from ssl_sweep.sweep.report.figures.base import (
    Drawn,
    Figure,
    Gap,
    crossing_text,
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
    own_images,
    scratch,
    undamaged,
)
from ssl_sweep.sweep.report.frame import complete

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas


def draw(frame: pd.DataFrame) -> list[Drawn]:
    return [power_law(frame), saved(frame)]


def power_law(frame: pd.DataFrame) -> Drawn:
    title = "More images: the fitted curve and its next doubling"
    rows = undamaged(judged(frame, "linear"))
    method = main_method(in_domain(rows))
    own = own_images(rows, method)
    sizes = own.groupby("eval_domain")["images"].nunique()
    own = own[own["eval_domain"].isin(sizes[sizes > 1].index)]
    if own.empty:
        reason = (
            "pretrain one domain at four or more sizes with three seeds: `images: [1k, 2k, 4k, 8k]`,"
            " `seed: [0, 1, 2]`"
        )
        return Gap(section="beyond", name="scaling", title=title, reason=reason)
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
        f"{style.method_name(method)}, linear probe with the most labels asked ({labels}), by number"
        f" of pretraining images. Curve: accuracy ="
        f" ceiling − scale · images^(−exponent); it goes on, dotted, over one more doubling."
        f" {_fits_text(fits)}"
        f" {seeds_text(table)}.{held}{gaps_text(table)}"
    )

    def picture(width: float) -> Canvas:
        canvas, axes = panels(len(fits), width, per_row=4)
        for axis, (domain, fit) in zip(axes, fits.items(), strict=True):
            part = table[table["eval_domain"] == domain]
            style.log_counts(axis, [*part["images"].unique(), 2 * part["images"].max()], "pretraining images")
            line(axis, part, "images", style.hue(0), dashes="none" if isinstance(fit, PowerLaw) else "-")
            if isinstance(fit, PowerLaw):
                _curve(axis, fit)
            axis.set_title(style.short(domain))
        same_limits(axes)
        axes[0].set_ylabel("top-1 accuracy, %")
        return canvas

    return Figure(section="beyond", name="scaling", title=title, caption=caption, data=table, draw=picture)


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
    said = []
    for domain, fit in fits.items():
        if isinstance(fit, NotFitted):
            said.append(f"{domain}: {fit.reason}.")
            continue
        gain = fit.next_gain
        span = (
            ""
            if gain.low is None or gain.high is None
            else f" [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
        )
        said.append(
            f"{domain}: next doubling {100 * gain.mean:+.1f} points{span}, n = {gain.n}; {_ceiling(fit)}."
        )
    return " ".join(said)


def _ceiling(fit: PowerLaw) -> str:
    low, high = (100 * value for value in fit.ceilings)
    if round(low) >= 100:
        return "no ceiling in sight (no fit levels off below 100 %)"
    if high - low > 10 or high >= 100:
        return f"no ceiling in sight ({low:.0f} to {high:.0f} % by seed)"
    return f"ceiling {low:.0f} to {high:.0f} % by seed"


def saved(frame: pd.DataFrame) -> Drawn:
    title = "Labels saved: how many labels pretraining needs for what labels alone reach"
    rows = undamaged(judged(frame, None))
    method = main_method(in_domain(rows))
    own = own_images(rows, method)
    own = own[own["images"] == own.groupby("eval_domain")["images"].transform("max")]
    own, held = hold(own, ["eval_domain", "protocol", "n_labels"])
    alone, _ = hold(scratch(rows), ["eval_domain", "n_labels"])
    said: dict[str, list[str]] = {}
    tables, reasons = [], []
    for (domain, protocol), group in own[own["protocol"].isin(["linear", "fine-tune"])].groupby(
        ["eval_domain", "protocol"]
    ):
        other = complete(alone[alone["eval_domain"] == domain])
        if other.empty:
            continue
        mine = complete(group)
        found = labels_saved(mine, other)
        said.setdefault(crossing_text(crossover(mine, other)), []).append(f"{domain} {protocol}")
        if isinstance(found, NotFitted):
            reasons.append(found.reason)
        else:
            tables.append(found.assign(eval_domain=domain, protocol=protocol))
    if not tables:
        why = reasons[0] if reasons else "no from-scratch cells"
        reason = (
            f"`method: random` with `protocol: fine-tune` at several `labels`, beside an in-domain"
            f" pretraining ({why})"
        )
        return Gap(section="beyond", name="labels-saved", title=title, reason=reason)
    table = pd.concat(tables, ignore_index=True)
    overtaken = "; ".join(f"{text} ({', '.join(where)})" for text, where in said.items())
    table["factor"] = table["labels"] / table["needed"]
    caption = (
        f"For each label budget of training from scratch (across), the budget at which"
        f" {style.method_name(method)} pretraining reaches the same"
        " accuracy (up), interpolated on a logarithmic scale. Below the dotted diagonal pretraining saves"
        " labels; ▽ at the foot:"
        " fewer than the smallest budget tried are enough; △ at the top: the largest tried is not."
        f"{_equal(table)} Where labels alone overtake:"
        f" {overtaken}. n = {_span(table)} pretraining seeds, bars are 95 % intervals.{held}"
    )

    def picture(width: float) -> Canvas:
        measured = table[table["needed"].notna()]
        domains = sorted((table if measured.empty else measured)["eval_domain"].unique())
        canvas, axes = panels(len(domains), width, per_row=3, height=3.0)
        for axis, domain in zip(axes, domains, strict=True):
            part = table[table["eval_domain"] == domain]
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
            axis.set_title(style.short(domain))
        axes[0].set_ylabel("labels, pretrained")
        legend(canvas, axes, width)
        return canvas

    return Figure(
        section="beyond", name="labels-saved", title=title, caption=caption, data=table, draw=picture
    )


def _equal(table: pd.DataFrame) -> str:
    """The labels saved, in words."""
    said = []
    for row in table[table["needed"].notna()].to_dict("records"):
        span = "" if math.isnan(row["low"]) else f" [{_count(row['low'])}, {_count(row['high'])}]"
        where = f"{row['eval_domain']} {row['protocol']}"
        said.append(f"{where} {style.count(row['labels'])} alone, {_count(row['needed'])} pretrained{span}")
    return f" Labels for equal accuracy: {'; '.join(said)}." if said else ""


def _count(labels: float) -> str:
    return style.count(float(f"{labels:.2g}"))


def _needed(axis: Axes, part: pd.DataFrame, i: int, protocol: str) -> None:
    if part.empty:
        return
    colour = style.hue(i)
    line(
        axis,
        part.assign(mean=part["needed"])[part["needed"].notna()],
        "labels",
        colour,
        style.marker(i),
        label=protocol,
    )
    low = part["labels"].min() / 1.9
    fewer = part[part["reason"].str.startswith("fewer")]
    never = part[part["reason"].str.startswith("not reached")]
    axis.plot(
        fewer["labels"],
        [low * (1 + 0.12 * i)] * len(fewer),
        "v",
        color=colour,
        markerfacecolor=style.PAPER,
        markersize=5,
    )
    axis.plot(
        never["labels"],
        [part["labels"].max() * 1.9] * len(never),
        "^",
        color=colour,
        markerfacecolor=style.PAPER,
        markersize=5,
    )


def _span(table: pd.DataFrame) -> str:
    counts = sorted({int(n) for n in table["n"] if n > 0})
    return "0" if not counts else f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
