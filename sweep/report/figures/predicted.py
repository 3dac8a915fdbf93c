"""Training time, predicted and measured: whether the plan's hours can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.figures.base import Drawn, Subject, legend, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

WITHIN = 0.15
"""How far a prediction may be off for a training of a minute or more, as a share."""
_MINUTE_S = 60.0
_SOURCES = ("measured", "calibrated", "scaled", "default guess")
_COLUMNS = ["pretrain_id", "method", "images", "predicted_from", "predicted_seconds", "train_seconds"]
_PREDICTED = Subject("beyond", "predicted", "Training time, predicted and measured")


def draw(frame: pd.DataFrame) -> list[Drawn]:
    """The figure; nothing if no training has a prediction, as in tables of older versions."""
    rows = frame[frame["predicted_seconds"].notna() & (frame["fused_with"] == "")]
    if rows.empty:
        return []
    table = rows[_COLUMNS].drop_duplicates("pretrain_id").sort_values("predicted_seconds")
    table = table.assign(ratio=table["train_seconds"] / table["predicted_seconds"])

    def picture(width: float) -> Canvas:
        canvas, (axis,) = panels(1, width)
        both = pd.concat([table["predicted_seconds"], table["train_seconds"]])
        ends = [both.min() / 1.3, both.max() * 1.3]
        axis.plot(ends, ends, color=style.MUTED, linewidth=1, zorder=1)
        low, high = ([end * (1 + off) for end in ends] for off in (-WITHIN, WITHIN))
        axis.fill_between(ends, low, high, color=style.MUTED, alpha=0.2, linewidth=0)
        for method in sorted(table["method"].unique(), key=style.method_order):
            colour, mark = style.method_look(method)
            part, name = table[table["method"] == method], style.method_name(method)
            axis.plot(
                part["predicted_seconds"], part["train_seconds"], mark, color=colour, alpha=0.75, label=name
            )
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("predicted device seconds")
        axis.set_ylabel("measured device seconds")
        legend(canvas, [axis])
        return canvas

    return [_PREDICTED.figure(_caption(table), table, picture)]


def _caption(table: pd.DataFrame) -> str:
    long = table[table["train_seconds"] >= _MINUTE_S]
    text = (
        "Each mark is one training, with the seconds of all its workers added up. The band is ± 15 % around"
        " the prediction made before the training began."
    )
    for source in _SOURCES:
        part = long[long["predicted_from"] == source]
        if len(part):
            good = int(((part["ratio"] - 1).abs() <= WITHIN).sum())
            text += (
                f" {source.capitalize()} rates, trainings of a minute or more: {good} of {len(part)} within"
                f" the band, ratio {part['ratio'].min():.2f} to {part['ratio'].max():.2f}."
            )
    return text if len(long) else f"{text} No training took a minute."
