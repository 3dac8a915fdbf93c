"""How fine the labels may be (Cole et al. 2022, section 4.4, Fig. 5)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import pandas as pd

from ssl_sweep.sweep.report.claims.finding import Claim, Finding
from ssl_sweep.sweep.report.claims.judging import Test, by_budget
from ssl_sweep.sweep.report.claims.quantity import UNTRAINED_DIFFERS
from ssl_sweep.sweep.report.claims.wording import count, signed
from ssl_sweep.sweep.report.compare import HOW_CLASSIFIED, Comparison, against, largest
from ssl_sweep.sweep.report.frame import in_domain, plain, scratch, self_supervised, usual
from ssl_sweep.sweep.report.statistics import contrast

_SSL, _LABELLED = "self-supervised", "supervised"


def gaps(rows: pd.DataFrame) -> list[Comparison]:
    """Linear probes of in-domain encoders beside training from scratch at the same label budget.

    The sides hold every level of labels; they are keyed by (name, level, level_index).
    """
    probed = largest(in_domain(self_supervised(plain(usual(rows)))), "images")
    trained = scratch(usual(rows, "fine-tune"))
    differing = (*UNTRAINED_DIFFERS, *HOW_CLASSIFIED)
    merged: dict[tuple[Hashable, ...], Comparison] = {}
    for one in against(probed, trained, (_SSL, _LABELLED), differing):
        level, index = one.same["level"], int(one.sides[_SSL].level_index[0])
        same = {name: value for name, value in one.same.items() if name != "level"}
        sides = {(name, level, index): side for name, side in one.sides.items()}
        before = merged.get(key := tuple(same.values()))
        merged[key] = Comparison(same, {**(before.sides if before else {}), **sides}, one.chosen)
    return list(merged.values())


def _name(level: object) -> str:
    return str(level).removeprefix("label_")


def _grows(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    def tests(one: Comparison) -> list[Test]:
        levels = sorted({key[1:] for key in one.sides}, key=lambda level: level[1])
        if len(levels) < 2:
            return []
        gap = {
            level: [(1.0, one.sides[(_LABELLED, *level)]), (-1.0, one.sides[(_SSL, *level)])]
            for level in levels
        }
        coarser = [
            f"{signed(found.mean)} at {_name(level[0])}"
            for level in levels[:0:-1]
            if (found := contrast(gap[level]))
        ]
        fine, coarse = gap[levels[0]], gap[levels[-1]]
        fine_name, coarse_name = _name(levels[0][0]), _name(levels[-1][0])
        probe = f"the linear probe after pretraining on {count(one.same['images'])} images"
        ahead = f"training from scratch minus {probe}: {', '.join([*coarser, f'at {fine_name}'])}"
        grows = f"from {coarse_name} to {fine_name} the difference grows by"
        return [
            Test(ahead, fine),
            Test(grows, [*fine, *((-weight, side) for weight, side in coarse)], margin=0.0),
        ]

    yield from by_budget(claim, gaps(rows), tests)


CLAIMS = (
    Claim(
        "granularity.gap-grows",
        "granularity",
        "Supervised training is ahead at the finest labels, and further ahead than at the coarsest",
        "Cole et al. 2022, section 4.4, Fig. 5",
        "a dataset with levels; linear probes and `method: random` with `protocol: fine-tune`, 3 seeds",
        _grows,
        "fig5",
        all_levels=True,
    ),
)
