"""How long trainings took against how long they were to take: whether the plan's figures can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.figures.base import Drawn, Figure, legend, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

WITHIN = 0.15
"""How far a prediction of a training of more than a minute may be off, as a share."""
_MINUTE_S = 60.0
_SOURCES = ("measured", "calibrated", "scaled", "default guess")
_COLUMNS = ["pretrain_id", "method", "images", "predicted_from", "predicted_seconds", "train_seconds"]


def draw(frame: pd.DataFrame) -> list[Drawn]:
    """Nothing where no training has a prediction: the table is older, or nothing was trained."""
    rows = frame[frame["predicted_seconds"].notna() & (frame["fused_with"] == "")]
    if rows.empty:
        return []
    table = rows[_COLUMNS].drop_duplicates("pretrain_id").sort_values("predicted_seconds")
    table = table.assign(ratio=table["train_seconds"] / table["predicted_seconds"])

    def picture(width: float) -> Canvas:
        canvas, axes = panels(1, width)
        axis = axes[0]
        both = pd.concat([table["predicted_seconds"], table["train_seconds"]])
        ends = [both.min() / 1.3, both.max() * 1.3]
        axis.plot(ends, ends, color=style.MUTED, linewidth=1, zorder=1)
        axis.fill_between(
            ends,
            [end * (1 - WITHIN) for end in ends],
            [end * (1 + WITHIN) for end in ends],
            color=style.MUTED,
            alpha=0.2,
            linewidth=0,
        )
        for method in sorted(table["method"].unique(), key=style.method_order):
            colour, mark = style.method_look(method)
            part = table[table["method"] == method]
            axis.plot(
                part["predicted_seconds"],
                part["train_seconds"],
                mark,
                color=colour,
                alpha=0.75,
                label=style.method_name(method),
            )
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("predicted, seconds of a device")
        axis.set_ylabel("taken, seconds of a device")
        legend(canvas, axes, width)
        return canvas

    return [
        Figure(
            section="beyond",
            name="predicted",
            title="Training time, predicted and taken",
            caption=_caption(table),
            data=table,
            draw=picture,
        )
    ]


def _caption(table: pd.DataFrame) -> str:
    long = table[table["train_seconds"] >= _MINUTE_S]
    text = (
        "Each mark is one training, all its workers together; the band is ± 15 % around what was predicted"
        " before it began."
    )
    for source in _SOURCES:
        part = long[long["predicted_from"] == source]
        if len(part):
            good = int(((part["ratio"] - 1).abs() <= WITHIN).sum())
            text += (
                f" {source.capitalize()} rates, trainings of a minute and more: {good} of {len(part)} within,"
                f" ratio {part['ratio'].min():.2f} to {part['ratio'].max():.2f}."
            )
    return text if len(long) else f"{text} None took a minute."
