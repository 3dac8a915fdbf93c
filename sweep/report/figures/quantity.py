"""How many images: top-1 against label budget by pretraining size (Cole et al. Fig. 2) and by method (Fig.
3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from sweep.report import style
from sweep.report.figures.base import (
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
from sweep.report.figures.choose import (
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

if TYPE_CHECKING:
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
        f"{style.method_name(str(method))} pretrained on the evaluation domain's own images; one line per"
        f" number of pretraining images,"
        f" darkest for the most. Black: the same network trained from scratch on the labels alone; where a"
        f" coloured"
        f" line lies above it, pretraining pays. Grey, dashed: linear probe of an untrained encoder."
        f" {seeds_text(table).capitalize()}.{held}{gaps_text(table)}"
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
        f" that several"
        f" methods share. Black: trained from scratch."
        f" {seeds_text(table).capitalize()}.{held}{gaps_text(table)}"
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
    def picture(width: float) -> Canvas:
        lines = table[~table["line"].isin([SCRATCH, FLOOR])]
        order = [p for p in PROTOCOLS if p in set(lines["protocol"])] + sorted(
            set(lines["protocol"]) - set(PROTOCOLS)
        )
        shown = _curves(lines, order)
        across = min(4, len({domain for _, domain in shown}))
        canvas, axes = panels(len(shown), width, per_row=across)
        for axis, (protocol, domain) in zip(axes, shown, strict=True):
            _panel(axis, table[table["eval_domain"] == domain], protocol, names)
            axis.set_title(f"{style.short(domain)} · {protocol}")
        for axis in axes[:: across if width > 5 else 1]:
            axis.set_ylabel("top-1 accuracy, %")
        same_limits(axes)
        if len(axes) > 1:
            legend(canvas, axes, width, [text for text, _, _ in names])
        return canvas

    return Figure(section="quantity", name=name, title=title, caption=caption, data=table, draw=picture)


def _curves(lines: pd.DataFrame, protocols: Sequence[str]) -> list[tuple[str, str]]:
    """The protocols and domains with a curve, over two label budgets at least; else all with a point."""
    budgets = lines[lines["mean"].notna()].groupby(["protocol", "eval_domain"])["n_labels"].nunique()
    for least in (2, 1, 0):
        kept = set(budgets[budgets >= least].index)
        found = [(p, d) for p in protocols for d in sorted(lines["eval_domain"].unique()) if (p, d) in kept]
        if found:
            return found
    return [(p, d) for p in protocols for d in sorted(lines["eval_domain"].unique())]


def _panel(axis: object, table: pd.DataFrame, protocol: str, names: Sequence[Look]) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axis, Axes)
    budgets = sorted(table["n_labels"].unique())
    style.log_counts(axis, budgets, "labelled images")
    scratch_rows = table[table["line"] == SCRATCH]
    ends = []
    for i, (text, colour, mark) in enumerate(names):
        part = table[(table["line"] == text) & (table["protocol"] == protocol)]
        if len(part):
            line(axis, part, "n_labels", colour, mark, position=i, label=text)
            ends.append((last_value(part, "n_labels"), text, colour))
    if len(scratch_rows):
        line(axis, scratch_rows, "n_labels", style.INK, "o", position=len(names), label=SCRATCH)
        ends.append((last_value(scratch_rows, "n_labels"), SCRATCH, style.INK))
    floor_rows = table[table["line"] == FLOOR]
    if len(floor_rows) and protocol != "fine-tune":
        line(
            axis,
            floor_rows,
            "n_labels",
            style.MUTED,
            marker="",
            dashes="--",
            linewidth=1.1,
            label=FLOOR,
            zorder=1.5,
        )
        ends.append((last_value(floor_rows, "n_labels"), FLOOR, style.MUTED))
    if axis.get_figure() is not None and len(axis.get_figure().axes) == 1:  # type: ignore[union-attr]
        label_ends(axis, ends)
