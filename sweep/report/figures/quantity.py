"""How many images: top-1 against label budget by pretraining size (Cole et al. Fig. 2) and by method (Fig.
3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.figures.base import (
    Drawn,
    Figure,
    Gap,
    gaps_text,
    label_ends,
    last_value,
    legend,
    line,
    panels,
    points,
    same_limits,
    seeds_text,
)
from ssl_sweep.sweep.report.figures.choose import (
    floor,
    hold,
    in_domain,
    judged,
    main_method,
    own_images,
    pretrained,
    scratch,
    undamaged,
)
from ssl_sweep.sweep.report.figures.overlay import dashed, name_dashed, of_panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

PROTOCOLS = ("linear", "fine-tune")
Look = tuple[str, str, str]  # name, colour, marker of a line
SCRATCH, FLOOR = "from scratch", "random encoder"


def draw(frame: pd.DataFrame) -> list[Drawn]:
    return [by_size(frame), by_method(frame)]


def by_size(frame: pd.DataFrame) -> Drawn:
    title = "Data quantity: accuracy against label budget, by number of unlabelled images"
    rows = undamaged(judged(frame, None))
    method = main_method(in_domain(rows))
    own = own_images(rows, method)
    if method is None or own.empty:
        reason = (
            "pretrain on a domain that is also evaluated: `images: [1k, 4k, all]` and `labels: [100, 1k,"
            " all]`"
        )
        return Gap(section="quantity", name="quantity", title=title, reason=reason)
    own, held = hold(own, ["eval_domain", "protocol", "images", "n_labels"])
    table = _with_references(points(own, ["eval_domain", "protocol", "images", "n_labels"]), rows, "images")
    caption = (
        f"{style.method_name(method)} pretrained on the evaluation domain's own images; one line per"
        " number of pretraining images, strongest for the most. Diamonds: the same network trained from"
        " scratch on the labels alone; where a blue line lies above it, pretraining pays. Grey, dotted:"
        " linear probe of an untrained encoder."
        f" {seeds_text(table)}.{held}{gaps_text(table)}"
    )
    sizes = sorted(own["images"].dropna().unique())
    colours = style.sequence(len(sizes))
    names = [
        (f"{style.count(size)} images", colour, "o") for size, colour in zip(sizes, colours, strict=True)
    ]
    return lines_figure("quantity", title, caption, table, names)


def by_method(frame: pd.DataFrame) -> Drawn:
    title = "Methods compared: accuracy against label budget at one pretraining size"
    rows = undamaged(judged(frame, None))
    own = in_domain(pretrained(rows))
    shared = own.groupby(["eval_domain", "images"])["method"].nunique()
    shared = shared[shared > 1].reset_index()
    if shared.empty:
        reason = (
            "pretrain one domain with several methods at one size: `method: [simclr, byol, rotation,"
            " supervised]`"
        )
        return Gap(section="quantity", name="methods", title=title, reason=reason)
    size = shared.sort_values("images").groupby("eval_domain")["images"].last()
    own = own[own["images"] == own["eval_domain"].map(size)]
    own, held = hold(own, ["eval_domain", "protocol", "method", "n_labels"])
    table = _with_references(points(own, ["eval_domain", "protocol", "method", "n_labels"]), rows, "method")
    sizes = ", ".join(f"{domain} {style.count(n)}" for domain, n in size.items())
    caption = (
        f"Each method pretrained on the same images of the evaluation domain ({sizes}); the largest size"
        " that several methods share. Diamonds: trained from scratch."
        f" {seeds_text(table)}.{held}{gaps_text(table)}"
    )
    if "supervised" in set(own["method"]):
        caption += " Supervised pretraining has seen the labels of all its images, which the axis leaves out."
    methods = list(
        own.groupby("method")["top1"].mean().sort_values(ascending=False, na_position="last").index
    )
    names = [(style.method_name(name), *style.method_look(name)) for name in methods]
    return lines_figure("methods", title, caption, table, names)


def _with_references(table: pd.DataFrame, rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """The lines, named in `line`, with from-scratch and floor under both protocols' names."""
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


def lines_figure(name: str, title: str, caption: str, table: pd.DataFrame, names: Sequence[Look]) -> Figure:
    colours = {SCRATCH: style.INK, **{text: colour for text, colour, _ in names}}

    def picture(width: float, published: pd.DataFrame | None = None) -> Canvas:
        shown = curves(table)
        across = min(4, len({domain for _, domain in shown}))
        canvas, axes = panels(len(shown), width, per_row=across)
        theirs = [of_panel(published, eval_domain=domain, protocol=protocol) for protocol, domain in shown]
        for axis, (protocol, domain), over in zip(axes, shown, theirs, strict=True):
            budgets = {*table[table["eval_domain"] == domain]["n_labels"], *over.get("n_labels", ())}
            style.log_counts(axis, sorted(budgets), "labelled images")
            _panel(axis, table[table["eval_domain"] == domain], protocol, names)
            dashed(axis, over, "n_labels", colours)
            axis.set_title(f"{style.short(domain)} · {protocol}")
        for axis in axes[:: across if width > 5 else 1]:
            axis.set_ylabel("top-1 accuracy, %")
        same_limits(axes)
        for axis, over in zip(axes, theirs, strict=True):
            name_dashed(axis, over, "n_labels", colours)
        if len(axes) > 1 or published is not None:
            legend(canvas, axes, width, [text for text, _, _ in names])
        else:
            protocol, domain = shown[0]
            label_ends(axes[0], _ends(table[table["eval_domain"] == domain], protocol, names))
        return canvas

    return Figure(section="quantity", name=name, title=title, caption=caption, data=table, draw=picture)


def curves(table: pd.DataFrame) -> list[tuple[str, str]]:
    """The protocols and domains with a curve, over two label budgets at least; else all with a point."""
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


def _panel(axis: Axes, table: pd.DataFrame, protocol: str, names: Sequence[Look]) -> None:
    for i, (text, colour, mark) in enumerate(names):
        part = table[(table["line"] == text) & (table["protocol"] == protocol)]
        if len(part):
            line(axis, part, "n_labels", colour, mark, position=i, label=text)
    scratch_rows = table[table["line"] == SCRATCH]
    if len(scratch_rows):
        line(axis, scratch_rows, "n_labels", style.INK, "D", position=len(names), label=SCRATCH)
    floor_rows = table[table["line"] == FLOOR]
    if len(floor_rows) and protocol != "fine-tune":
        grey = style.MUTED
        line(axis, floor_rows, "n_labels", grey, "", ":", linewidth=1.1, label=FLOOR, zorder=1.5)


def _ends(table: pd.DataFrame, protocol: str, names: Sequence[Look]) -> list[tuple[float, str, str]]:
    """Name and colour of each line of a lone panel, with its last value."""
    shown = [
        *names,
        (SCRATCH, style.INK, ""),
        *([(FLOOR, style.MUTED, "")] if protocol != "fine-tune" else []),
    ]
    reference = table["line"].isin([SCRATCH, FLOOR])
    known = table[reference | (table["protocol"] == protocol)]
    return [(last_value(known[known["line"] == text], "n_labels"), text, colour) for text, colour, _ in shown]
