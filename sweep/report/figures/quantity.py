"""How many images: top-1 against label budget, by size (Cole et al. Fig. 2) and by method (Fig. 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pandas as pd

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.figures.base import Drawn, Subject, gaps_text, points, seeds_text
from ssl_sweep.sweep.report.figures.choose import (
    floor,
    hold,
    judged,
    main_method,
    own_images,
    pretrained,
    undamaged,
)
from ssl_sweep.sweep.report.figures.lines import Look, Panel, line_panels
from ssl_sweep.sweep.report.frame import in_domain, scratch

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

PROTOCOLS = ("linear", "fine-tune")
SCRATCH, FLOOR = "from scratch", "random encoder"
_SIZES = Subject(
    "quantity", "quantity", "Data quantity: accuracy against label budget, by number of unlabelled images"
)
_METHODS = Subject(
    "quantity", "methods", "Methods compared: accuracy against label budget at one pretraining size"
)


def draw(frame: pd.DataFrame) -> list[Drawn]:
    return [by_size(frame), by_method(frame)]


def by_size(frame: pd.DataFrame) -> Drawn:
    rows = undamaged(judged(frame, None))
    method = main_method(in_domain(rows))
    own = own_images(rows, method)
    if method is None or own.empty:
        return _SIZES.gap(
            "pretrain on a domain that is also evaluated: `images: [1k, 4k, all]` and `labels: [100, 1k,"
            " all]`"
        )
    own, held = hold(own, ["eval_domain", "protocol", "images", "n_labels"])
    table = _with_references(points(own, ["eval_domain", "protocol", "images", "n_labels"]), rows, "images")
    caption = (
        f"{style.method_name(method)} pretrained on images of the evaluation domain. There is one line per"
        " number of pretraining images, darkest for the most. Diamonds: the same network trained from scratch"
        " with labels only. Pretraining pays if a blue line lies above them. Grey and dotted: linear probe of"
        f" an untrained encoder. {seeds_text(table)}.{held}{gaps_text(table)}"
    )
    sizes = sorted(own["images"].dropna().unique())
    colours = style.sequence(len(sizes))
    looks = {f"{style.count(size)} images": Look(colour) for size, colour in zip(sizes, colours, strict=True)}
    return _SIZES.figure(caption, table, budget_lines(table, looks))


def by_method(frame: pd.DataFrame) -> Drawn:
    rows = undamaged(judged(frame, None))
    own = in_domain(pretrained(rows))
    shared = own.groupby(["eval_domain", "images"])["method"].nunique()
    shared = shared[shared > 1].reset_index()
    if shared.empty:
        return _METHODS.gap(
            "pretrain one domain with several methods at one size: `method: [simclr, byol, rotation,"
            " supervised]`"
        )
    size = shared.sort_values("images").groupby("eval_domain")["images"].last()
    own = own[own["images"] == own["eval_domain"].map(size)]
    own, held = hold(own, ["eval_domain", "protocol", "method", "n_labels"])
    table = _with_references(points(own, ["eval_domain", "protocol", "method", "n_labels"]), rows, "method")
    sizes = ", ".join(f"{domain} {style.count(n)}" for domain, n in size.items())
    caption = (
        f"Each method pretrained on the same images of the evaluation domain ({sizes}), at the largest size"
        " that several methods share. Diamonds: trained from scratch."
        f" {seeds_text(table)}.{held}{gaps_text(table)}"
    )
    if "supervised" in set(own["method"]):
        caption += " Supervised pretraining uses the labels of all its images; the axis does not count them."
    methods = list(
        own.groupby("method")["top1"].mean().sort_values(ascending=False, na_position="last").index
    )
    looks = {style.method_name(name): Look(*style.method_look(name)) for name in methods}
    return _METHODS.figure(caption, table, budget_lines(table, looks))


def _with_references(table: pd.DataFrame, rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """``table`` with the name of each ``line``, and the lines from scratch and of untrained encoders."""
    names = (
        table[key].map(lambda v: f"{style.count(v)} images")
        if key == "images"
        else table[key].map(style.method_name)
    )
    parts = [table.assign(line=names)]
    shown = table["eval_domain"].unique()
    for name, found in ((SCRATCH, scratch(rows)), (FLOOR, floor(rows))):
        found, _ = hold(found[found["eval_domain"].isin(shown)], ["eval_domain", "n_labels"])
        if len(found):
            reference = points(found, ["eval_domain", "n_labels"]).assign(line=name)
            parts.append(reference.assign(protocol="linear" if name == FLOOR else "fine-tune"))
    return pd.concat(parts, ignore_index=True)


def budget_lines(table: pd.DataFrame, looks: Mapping[str, Look]) -> Callable[..., Canvas]:
    """Draws the lines over label budgets: one panel per protocol and evaluation domain.

    Args:
        table: ``points`` with ``eval_domain``, ``protocol``, ``n_labels`` and ``line``.
        looks: the looks of all lines except those from scratch and of untrained encoders.
    """
    references = {
        SCRATCH: Look(style.INK, "D"),
        FLOOR: Look(style.MUTED, "", {"dashes": ":", "linewidth": 1.1, "zorder": 1.5}),
    }
    shown = curves(table)
    return line_panels(
        [_panel(table, protocol, domain) for protocol, domain in shown],
        "n_labels",
        "labelled images",
        {**looks, **references},
        per_row=min(4, len({domain for _, domain in shown})),
        label_each_row=True,
    )


def _panel(table: pd.DataFrame, protocol: str, domain: str) -> Panel:
    """Lines of the protocol, the one from scratch and, beside probes, that of untrained encoders."""
    here = table[table["eval_domain"] == domain]
    always = [SCRATCH] if protocol == "fine-tune" else [SCRATCH, FLOOR]
    lines = (here["protocol"] == protocol) & ~here["line"].isin([SCRATCH, FLOOR])
    return Panel(
        title=f"{style.short(domain)} · {protocol}",
        rows=here[lines | here["line"].isin(always)],
        ticks=set(here["n_labels"]),
        where={"eval_domain": domain, "protocol": protocol},
    )


def curves(table: pd.DataFrame) -> list[tuple[str, str]]:
    """The (protocol, domain) pairs with a line over two label budgets; else those with a point; else all."""
    lines = table[~table["line"].isin([SCRATCH, FLOOR])]
    others = sorted(set(lines["protocol"]) - set(PROTOCOLS))
    protocols = [p for p in (*PROTOCOLS, *others) if p in set(lines["protocol"])]
    budgets = lines[lines["mean"].notna()].groupby(["protocol", "eval_domain"])["n_labels"].nunique()
    for least in (2, 1, 0):
        kept = set(budgets[budgets >= least].index)
        found = [(p, d) for p in protocols for d in sorted(lines["eval_domain"].unique()) if (p, d) in kept]
        if found:
            return found
    return [(p, d) for p in protocols for d in sorted(lines["eval_domain"].unique())]
