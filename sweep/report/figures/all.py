"""Every figure of a sweep, in the order of the study."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from ssl_sweep.sweep.report.figures import (
    cost,
    domain,
    granularity,
    predicted,
    pretext,
    quality,
    quantity,
    scaling,
    transfer,
)
from ssl_sweep.sweep.report.figures.base import Drawn, Figure
from ssl_sweep.sweep.report.figures.published import with_published

if TYPE_CHECKING:
    from ssl_sweep.sweep.report.paper import PaperNumbers

MOST_DOMAINS = 24
"""Evaluation domains in a picture; more panels could not be read."""
_MODULES = (quantity, domain, quality, granularity, pretext, transfer, scaling, cost, predicted)


def figures(frame: pd.DataFrame, paper: PaperNumbers | None = None) -> list[Drawn]:
    """All figures, and gaps for those that the sweep has no cells for.

    If there are too many evaluation domains, those with most cells are drawn.

    Args:
        paper: published numbers to draw over the figures, or beside them.
    """
    cells = frame.groupby("eval_domain", sort=True)["cell_id"].nunique()
    shown = cells.sort_values(ascending=False, kind="stable").index[:MOST_DOMAINS]
    frame = frame[frame["eval_domain"].isin(shown)]
    drawn = [one for module in _MODULES for one in module.draw(frame)]
    drawn = with_published(drawn, paper) if paper else drawn
    if len(cells) <= MOST_DOMAINS:
        return drawn
    note = f" Shown are the {MOST_DOMAINS} of {len(cells)} evaluation domains with most cells."
    return [replace(one, caption=one.caption + note) if isinstance(one, Figure) else one for one in drawn]
