"""Pretraining on a long tail, at an equal number of images."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from ssl_sweep.sweep.report.claims.finding import Claim, Finding
from ssl_sweep.sweep.report.claims.judging import Test, by_budget
from ssl_sweep.sweep.report.compare import SAME_IMAGES, Comparison, beside, equal_but_for
from ssl_sweep.sweep.report.frame import plain, self_supervised, usual
from ssl_sweep.sweep.report.style import method_name

_SSL, _LABELLED = "self-supervised", "supervised"


def tails(rows: pd.DataFrame) -> list[Comparison]:
    """Encoders that differ in the imbalance of their images only, self-supervised beside supervised."""
    mine = plain(usual(rows), tailed=True)
    equal = tuple(name for name in SAME_IMAGES if name != "imbalance")
    also = ("subset_draw",)
    labelled = equal_but_for(mine[mine["method"] == "supervised"], "imbalance", also)
    return beside(equal_but_for(self_supervised(mine), "imbalance", also), labelled, (_SSL, _LABELLED), equal)


def _less_hurt(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    def tests(one: Comparison) -> list[Test]:
        values = sorted({value for _, value in one.sides})
        if len(values) < 2 or values[0] != 1:
            return []
        method = method_name(one.same["method"])
        return [
            Test(
                f"extra cost of an imbalance of {value:g} for supervised, compared with {method}:",
                [
                    (1.0, one.sides[(_LABELLED, 1.0)]),
                    (-1.0, one.sides[(_LABELLED, value)]),
                    (-1.0, one.sides[(_SSL, 1.0)]),
                    (1.0, one.sides[(_SSL, value)]),
                ],
            )
            for value in values[1:]
        ]

    yield from by_budget(claim, tails(rows), tests)


CLAIMS = (
    Claim(
        "imbalance.less-hurt",
        "imbalance",
        "A long tail costs self-supervised pretraining less than supervised pretraining at equal size",
        "How to Reduce Training Data with SSL (blog)",
        "`method: [simclr, supervised]` with `imbalance: [1, 50]` at an equal number of images, 3 seeds",
        _less_hurt,
    ),
)
