"""What bad images cost (Cole et al. 2022, section 4.3, Fig. 4): only the pretraining images are damaged."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import pandas as pd

from ssl_sweep.sweep.report.claims.finding import Claim, Finding
from ssl_sweep.sweep.report.claims.judging import Test, by_budget, subtract
from ssl_sweep.sweep.report.compare import SAME_IMAGES, Comparison, beside, equal_but_for
from ssl_sweep.sweep.report.frame import plain, self_supervised, usual
from ssl_sweep.sweep.report.statistics import Runs
from ssl_sweep.sweep.report.style import method_name

_SOURCE = "Cole et al. 2022, section 4.3, Fig. 4"
_CLEAN = "none"
_ORDER = ("downsample-4x", "downsample-2x", "jpeg", "salt-and-pepper", "resize")
_SSL, _LABELLED = "self-supervised", "supervised"
_NEEDS = (
    "pretrainings with `corruption: [none, downsample-2x, downsample-4x, jpeg, salt-and-pepper]`, 3 seeds"
)
_BOTH = _NEEDS + ", of a self-supervised method and of `method: supervised`"


def damages(rows: pd.DataFrame) -> list[Comparison]:
    """Self-supervised encoders that differ in the corruption of their images only."""
    return _with_clean(equal_but_for(self_supervised(plain(usual(rows), damaged=True)), "corruption"))


def against_supervised(rows: pd.DataFrame) -> list[Comparison]:
    """The same beside supervised pretraining on the same images."""
    mine = plain(usual(rows), damaged=True)
    labelled = _with_clean(equal_but_for(mine[mine["method"] == "supervised"], "corruption"))
    return beside(damages(rows), labelled, (_SSL, _LABELLED), SAME_IMAGES)


def _with_clean(found: Iterable[Comparison]) -> list[Comparison]:
    return [one for one in found if _CLEAN in one.sides]


def _costs(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    def tests(one: Comparison) -> list[Test]:
        damage = one.same["corruption"]
        return [Test(f"{damage} costs", subtract(one.sides["clean"], one.sides["damaged"]))]

    apart = [
        Comparison({**one.same, "corruption": damage}, {"clean": one.sides[_CLEAN], "damaged": side})
        for one in damages(rows)
        for damage, side in one.sides.items()
        if damage != _CLEAN
    ]
    yield from by_budget(claim, apart, tests)


def _excess(one: Comparison, kind: str) -> Iterator[tuple[str, list[tuple[float, Runs]]]]:
    """The extra cost of each damage of a kind for self-supervised pretraining, compared with supervised."""
    for name, damage in one.sides:
        if name == _SSL and str(damage).startswith(kind):
            mine, labelled = (
                subtract(one.sides[(side, _CLEAN)], one.sides[(side, damage)]) for side in (_SSL, _LABELLED)
            )
            yield str(damage), [*mine, *((-weight, runs) for weight, runs in labelled)]


def _extra(damage: str, one: Comparison) -> str:
    return (
        f"extra cost of {damage} for {method_name(one.same['method'])}, compared with supervised pretraining:"
    )


def _downsampling(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    def tests(one: Comparison) -> list[Test]:
        return [
            Test(
                _extra(damage, one),
                terms,
            )
            for damage, terms in _excess(one, "downsample")
        ]

    yield from by_budget(claim, against_supervised(rows), tests)


def _jpeg(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    def tests(one: Comparison) -> list[Test]:
        return [
            Test(
                _extra(damage, one),
                terms,
                "same",
            )
            for damage, terms in _excess(one, "jpeg")
        ]

    yield from by_budget(claim, against_supervised(rows), tests)


def _order(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    def tests(one: Comparison) -> list[Test]:
        present = [
            next(name for name in map(str, one.sides) if name.startswith(kind))
            for kind in _ORDER
            if any(str(name).startswith(kind) for name in one.sides)
        ]
        if len(present) < 3:
            return []
        return [
            Test(
                f"cost of {worse} minus cost of {milder}:",
                subtract(one.sides[milder], one.sides[worse]),
                margin=0,
            )
            for worse, milder in itertools.pairwise(present)
        ]

    yield from by_budget(claim, damages(rows), tests)


CLAIMS = (
    Claim(
        "quality.costs",
        "quality",
        "Damaged pretraining images cost accuracy",
        _SOURCE,
        _NEEDS,
        _costs,
        "fig4:order",
    ),
    Claim(
        "quality.downsampling",
        "quality",
        "Low resolution costs self-supervised pretraining more than supervised pretraining",
        _SOURCE,
        _BOTH,
        _downsampling,
        "fig4:downsampling",
    ),
    Claim(
        "quality.jpeg",
        "quality",
        "JPEG damage costs both kinds of pretraining the same within 1.5 points",
        _SOURCE,
        _BOTH,
        _jpeg,
        "fig4:jpeg",
    ),
    Claim(
        "quality.order",
        "quality",
        "Damage costs most for low resolution, then JPEG, then salt and pepper, then resizing",
        _SOURCE,
        _NEEDS,
        _order,
        "fig4:order",
    ),
)
