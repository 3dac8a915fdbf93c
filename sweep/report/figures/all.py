"""Every figure of a sweep, in the order of the study."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from sweep.report.figures import cost, domain, granularity, pretext, quality, quantity, scaling, transfer
from sweep.report.figures import predicted as predictions
from sweep.report.figures.base import Drawn
from sweep.report.figures.published import with_published

if TYPE_CHECKING:
    from sweep.report.paper import PaperNumbers

_MODULES = (quantity, domain, quality, granularity, pretext, transfer, scaling, cost, predictions)


def figures(frame: pd.DataFrame, paper: PaperNumbers | None = None) -> list[Drawn]:
    """Figures, and gaps for those that the sweep has no cells for; with `paper` its numbers beside one's
    own."""
    drawn = [one for module in _MODULES for one in module.draw(frame)]
    return with_published(drawn, paper) if paper else drawn
