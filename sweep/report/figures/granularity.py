"""How fine the labels may be: accuracy and gap to supervised training by label level (Cole et al. Fig. 5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.figures.base import (
    ACCURACY,
    NARROW,
    Drawn,
    Subject,
    gaps_text,
    in_points,
    legend,
    line,
    panels,
    points,
    same_limits,
    seeds_text,
)
from ssl_sweep.sweep.report.figures.choose import hold, main_method, pretrained, undamaged
from ssl_sweep.sweep.report.figures.lines import dashed, of_panel
from ssl_sweep.sweep.report.frame import complete, in_domain, scratch, usual
from ssl_sweep.sweep.report.statistics import paired_difference

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_LEVELS = Subject(
    "granularity", "granularity", "Label granularity: accuracy from the coarsest to the finest labels"
)
_QUESTION = ["eval_domain", "images", "n_labels"]
MAPPED, RETRAINED, SUPERVISED, SCRATCH = (
    "linear probe",
    "probe retrained per level",
    "supervised pretraining",
    "from scratch",
)


def draw(frame: pd.DataFrame) -> list[Drawn]:
    usual_rows = undamaged(usual(frame, None))
    several = usual_rows.groupby("eval_domain")["level_index"].transform("max") > 0
    rows = usual_rows[several]
    own = in_domain(pretrained(rows[rows["protocol"] == "linear"]))
    method = main_method(own)
    if method is None:
        return [
            _LEVELS.gap(
                "evaluate a dataset with a hierarchy on its own domain: `levels: [label, label_group]`"
            )
        ]
    keys = ["eval_domain", "level", "level_index"]
    mine = own[own["method"] == method]
    others = {
        RETRAINED: _retrained(frame, mine),
        SUPERVISED: own[own["method"] == "supervised"],
        SCRATCH: scratch(rows),
    }
    mine, held = hold(_best_accompanied(mine, others), keys)
    same_encoders = others[RETRAINED]["pretrain_id"].isin(mine["pretrain_id"])
    others[RETRAINED] = others[RETRAINED][same_encoders]
    parts = [(MAPPED, mine)]
    for name, found in others.items():
        for column in _QUESTION[1:] if name != SCRATCH else _QUESTION[2:]:
            found = found[
                found[column] == found["eval_domain"].map(mine.groupby("eval_domain")[column].first())
            ]
        parts.append((name, hold(found, keys)[0]))
    tables = [points(part, keys).assign(line=name) for name, part in parts if len(part)]
    table = pd.concat(tables, ignore_index=True)
    classes = frame.dropna(subset=["n_classes"]).groupby(["eval_domain", "level"])["n_classes"].first()
    table["n_classes"] = [
        classes.get((d, lv), math.nan) for d, lv in zip(table["eval_domain"], table["level"], strict=True)
    ]
    gaps = _gaps(parts)
    asked = "; ".join(
        f"{row['eval_domain']} {style.count(row['images'])} images, {style.count(row['n_labels'])} labels"
        for row in mine.drop_duplicates(["eval_domain"]).sort_values("eval_domain").to_dict("records")
    )
    caption = (
        f"{style.method_name(method)} ({asked}). A linear probe is trained on the finest labels, and its"
        " predictions are mapped up the hierarchy. Levels run from coarse to fine, with their number of"
        " classes. All lines use the same number of labels. The numbers at the foot are training from scratch"
        " (else supervised pretraining) minus the probe, in points, paired by seed."
        f" {seeds_text(table)}.{held}{gaps_text(table)}"
    )
    data = table.merge(gaps, how="left", on=["eval_domain", "level"]) if len(gaps) else table
    return [_LEVELS.figure(caption, data, levels_picture(table, gaps))]


def _best_accompanied(mine: pd.DataFrame, others: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Per domain the rows at the label budget and size that most lines share; the largest among equals."""
    there = {name: set(rows[_QUESTION].itertuples(index=False, name=None)) for name, rows in others.items()}
    there[SCRATCH] = {(domain, labels) for domain, _, labels in there[SCRATCH]}
    best: dict[str, tuple[int, float, float]] = {}
    for domain, images, labels in mine[_QUESTION].drop_duplicates().itertuples(index=False, name=None):
        lines = ((domain, images, labels) in there[RETRAINED]) + (
            (domain, images, labels) in there[SUPERVISED]
        )
        lines += (domain, labels) in there[SCRATCH]
        best[domain] = max(best.get(domain, (-1, 0.0, 0.0)), (lines, labels, images))
    kept = [best[d][1:] == (n, i) for d, i, n in mine[_QUESTION].itertuples(index=False, name=None)]
    return mine[np.array(kept, dtype=bool)]


def _retrained(frame: pd.DataFrame, mine: pd.DataFrame) -> pd.DataFrame:
    """The same encoders and label budgets with a probe trained on the labels of the level itself."""
    rows = frame[frame["pretrain_id"].isin(mine["pretrain_id"]) & (frame["protocol"] == "linear")]
    rows = rows[(rows["train_level"] == rows["level"]) & (rows["level_index"] > 0)]
    for name in ("eval_domain", "draw", "c_path", "eval_corruption", "label_imbalance"):
        rows = rows[rows[name].isin(mine[name])]
    return rows[(rows["representation"] == "h") & (rows["fused_with"] == "")]


def _gaps(parts: list[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    """Supervised minus the probe by level, in points: from scratch if the sweep has it, else pretrained."""
    rows = dict(parts)
    mine = complete(rows[MAPPED])
    records = []
    for (domain, level), cells in mine.groupby(["eval_domain", "level"]):
        for name in (SCRATCH, SUPERVISED):
            others = complete(rows[name])
            others = others[(others["eval_domain"] == domain) & (others["level"] == level)]
            found = paired_difference(others, cells) if len(others) else None
            if found is not None:
                records.append([domain, level, name, *in_points(found), found.n])
    columns = ["eval_domain", "level", "gap_to", "gap", "gap_low", "gap_high", "gap_n"]
    table = pd.DataFrame(records, columns=columns)
    if table.empty:
        return table
    first = table.groupby("eval_domain")["gap_to"].first()  # from scratch comes first
    return table[table["gap_to"] == table["eval_domain"].map(first)]


def levels_picture(table: pd.DataFrame, gaps: pd.DataFrame) -> Callable[..., Canvas]:
    """Draws accuracy by level, one panel per evaluation domain, with the rows of ``_gaps`` at the foot."""
    looks = {
        MAPPED: (style.hue(0), "o", "-"),
        RETRAINED: (style.hue(0), "D", ":"),
        SUPERVISED: (style.hue(1), "s", "-"),
        SCRATCH: (style.INK, "o", "-"),
    }

    def picture(width: float, published: pd.DataFrame | None = None) -> Canvas:
        domains = sorted(table["eval_domain"].unique())
        colours = {name: colour for name, (colour, _, _) in looks.items()}
        canvas, axes = panels(len(domains), width, per_row=4, height=2.9)
        for axis, domain in zip(axes, domains, strict=True):
            part = table[table["eval_domain"] == domain]
            levels = part.drop_duplicates("level").sort_values("level_index", ascending=False)
            for i, (name, (colour, mark, dashes)) in enumerate(looks.items()):
                drawn = part[part["line"] == name].assign(x=lambda t: -t["level_index"])
                if len(drawn):
                    line(axis, drawn, "x", colour, mark, dashes, position=i, label=name)
            over = of_panel(published, eval_domain=domain)
            if len(over):
                dashed(axis, over.assign(x=-over["level_index"]), "x", colours)
            _level_ticks(axis, levels)
            axis.set_xlabel("level, number of classes")
            axis.margins(x=0.15)
            axis.set_title(style.short(domain))
        same_limits(axes)
        for axis in axes:
            bottom, top = axis.get_ylim()
            axis.set_ylim(bottom - (0.13 * (top - bottom) if len(gaps) else 0), top)
        for axis, domain in zip(axes, domains, strict=True):
            _write_gaps(axis, table[(table["eval_domain"] == domain) & (table["line"] == MAPPED)], gaps)
        for axis in axes[:: 1 if width <= NARROW else 4]:
            axis.set_ylabel(ACCURACY)
        legend(canvas, axes)
        return canvas

    return picture


def _level_ticks(axis: Axes, levels: pd.DataFrame) -> None:
    """Write names over numbers of classes; slanted and on one line if they would touch."""
    names = [_short(level) for level in levels["level"]]
    counts = ["" if math.isnan(n) else f"{n:.0f}" for n in levels["n_classes"]]
    room = axis.get_window_extent().width / axis.get_figure().dpi * 72 / (len(names) + 0.3)  # type: ignore[union-attr]
    aslant = 4.9 * max(map(len, names)) > room and len(names) > 1
    joint = ", " if aslant else "\n"
    text = [joint.join(filter(None, pair)) for pair in zip(names, counts, strict=True)]
    at = -levels["level_index"].to_numpy()
    if aslant:
        axis.set_xticks(at, text, rotation=35, ha="right", rotation_mode="anchor", fontsize=7)
    else:
        axis.set_xticks(at, text)


def _short(level: str) -> str:
    return style.short(level.removeprefix("label_"), 14)


def _write_gaps(axis: Axes, mapped: pd.DataFrame, gaps: pd.DataFrame) -> None:
    if gaps.empty:
        return
    found = mapped.merge(gaps, on=["eval_domain", "level"])
    for _, row in found.iterrows():
        axis.annotate(
            f"{round(row['gap'], 1) + 0.0:+.1f}".replace("-", "−"),
            (-row["level_index"], 0.03), xycoords=("data", "axes fraction"), ha="center", fontsize=7.5,
            color=style.MUTED,
        )  # fmt: skip
