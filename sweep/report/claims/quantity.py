"""How many unlabelled and labelled images it takes (Cole et al. 2022, section 4.1, Figs 2 and 3)."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator

import pandas as pd

from ssl_sweep.sweep.report.claims.finding import Claim, Finding
from ssl_sweep.sweep.report.claims.judging import Test, by_budget, subtract
from ssl_sweep.sweep.report.claims.overtaking import PRETRAINED, SCRATCH, overtaking
from ssl_sweep.sweep.report.claims.wording import count
from ssl_sweep.sweep.report.compare import HOW_CLASSIFIED, Comparison, against, equal_but_for, largest
from ssl_sweep.sweep.report.frame import PRETRAINING, in_domain, plain, scratch, self_supervised, usual
from ssl_sweep.sweep.report.statistics import Runs

CONTRASTIVE = ("simclr", "moco-v2", "byol")
UNTRAINED_DIFFERS = tuple(name for name in PRETRAINING if name not in ("encoder", "image_size"))
"""Columns in which an untrained encoder may differ: all that say how an encoder was trained."""
_SOURCE = "Cole et al. 2022, section 4.1"
_SIZES = "the same pretraining with several numbers of images (`images: [2k, 4k, 8k]`), 3 seeds"


def sizes(rows: pd.DataFrame) -> list[Comparison]:
    """In-domain pretrainings that differ in the number of images only, at equal epochs or at equal steps.

    Equal steps are left out if the same sizes are compared at equal epochs.
    """
    mine = in_domain(self_supervised(plain(usual(rows))))
    at_epochs = equal_but_for(mine, "images", ("steps",))
    known = {_question(one) for one in at_epochs}
    at_steps = equal_but_for(mine, "images", ("epochs",))
    return at_epochs + [one for one in at_steps if _question(one) not in known]


def _question(one: Comparison) -> tuple[Hashable, ...]:
    """What is equal whether sizes are compared at equal epochs or at equal steps."""
    same = tuple(value for name, value in one.same.items() if name not in ("steps", "epochs"))
    return same, tuple(one.sides)


def _last_doubling(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    def tests(one: Comparison) -> list[Test]:
        (n0, a), (n1, b) = _last_doubled(one)
        share, per_doubling = _per_doubling(n0, n1)
        what = f"from {count(n0)} to {count(n1)} unlabelled images top-1 changes{per_doubling} by"
        return [Test(what, [(share, b), (-share, a)], "same")]

    yield from by_budget(claim, sizes(rows), tests)


def _first_doublings(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    def tests(one: Comparison) -> list[Test]:
        sides = list(one.sides.items())
        if len(sides) < 3:
            return []
        (n0, a), (n1, b) = sides[0], sides[len(sides) // 2]
        return [Test(f"from {count(n0)} to {count(n1)} unlabelled images top-1 changes by", subtract(b, a))]

    yield from by_budget(claim, sizes(rows), tests)


def _diminishing(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    def tests(one: Comparison) -> list[Test]:
        sides = [(float(str(size)), side) for size, side in one.sides.items()]
        if len(sides) < 3:
            return []
        (n0, a), (n1, b), (n2, c), (n3, d) = *sides[:2], *sides[-2:]
        (early, first), (late, then) = _per_doubling(n0, n1), _per_doubling(n2, n3)
        what = (
            f"gain{first} from {count(n0)} to {count(n1)} images minus gain{then} from {count(n2)} to"
            f" {count(n3)}:"
        )
        return [Test(what, [(early, b), (-early, a), (-late, d), (late, c)], margin=0.0)]

    yield from by_budget(claim, sizes(rows), tests)


def _last_doubled(one: Comparison) -> list[tuple[float, Runs]]:
    """The doubling that ends at the most images, as (images, runs); without one, the last two sizes."""
    sides = [(float(str(size)), side) for size, side in one.sides.items()]
    halves = [side for side in sides if _is_doubling(side[0], sides[-1][0])]
    return [halves[-1] if halves else sides[-2], sides[-1]]


def _is_doubling(few: float, many: float) -> bool:
    """Whether it is one within 5 %: 7,000 of 14,031 images are."""
    return abs(many / few / 2 - 1) <= 0.05


def _per_doubling(few: float, many: float) -> tuple[float, str]:
    """The share of a change that belongs to one doubling, and the words for it; 1 and "" for a doubling."""
    if _is_doubling(few, many):
        return 1.0, ""
    doublings = math.log2(many / few)
    return 1 / doublings, f" per doubling (rescaled, it is {doublings:.1f} doublings)"


def tuned(rows: pd.DataFrame) -> list[Comparison]:
    """Fine-tuned in-domain encoders of the largest size, beside training from scratch."""
    mine = usual(rows, "fine-tune")
    pretrained = largest(in_domain(self_supervised(plain(mine))), "images")
    return against(pretrained, scratch(mine), (PRETRAINED, SCRATCH), UNTRAINED_DIFFERS)


def _few_labels(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    def tests(one: Comparison) -> list[Test]:
        what = "fine-tuning the pretrained encoder minus training from scratch:"
        return [Test(what, subtract(one.sides[PRETRAINED], one.sides[SCRATCH]))]

    yield from by_budget(claim, tuned(rows), tests, smallest=True, budgets=2)


def _many_labels(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    def tests(one: Comparison) -> list[Test]:
        what = "fine-tuning the pretrained encoder minus training from scratch:"
        return [Test(what, subtract(one.sides[PRETRAINED], one.sides[SCRATCH]), "same")]

    yield from by_budget(claim, tuned(rows), tests, budgets=2)


def _crossover(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    probed = largest(in_domain(self_supervised(plain(usual(rows)))), "images")
    probed = probed[probed["method"].isin(CONTRASTIVE)]
    differing = (*UNTRAINED_DIFFERS, *HOW_CLASSIFIED)
    pairs = against(probed, scratch(usual(rows, "fine-tune")), (PRETRAINED, SCRATCH), differing)
    yield from overtaking(claim, pairs)


def _floor(claim: Claim, rows: pd.DataFrame) -> Iterator[Finding]:
    mine = usual(rows)
    pretrained = largest(in_domain(self_supervised(plain(mine))), "images")
    untrained = mine[mine["method"] == "random"]

    def tests(one: Comparison) -> list[Test]:
        what = f"pretraining on {count(one.same['images'])} images minus an untrained encoder:"
        return [Test(what, subtract(one.sides["pretrained"], one.sides["untrained"]))]

    pairs = against(pretrained, untrained, ("pretrained", "untrained"), UNTRAINED_DIFFERS)
    yield from by_budget(claim, pairs, tests)


CLAIMS = (
    Claim(
        "quantity.pays",
        "quantity",
        "Pretraining on unlabelled images of the domain beats an untrained encoder",
        "the baseline of every comparison; no source states it",
        "a pretraining and `method: random` evaluated on the same domain, 3 seeds",
        _floor,
    ),
    Claim(
        "quantity.first-doublings",
        "quantity",
        "The first doublings of unlabelled images help clearly",
        _SOURCE,
        _SIZES,
        _first_doublings,
        "fig2-linear:first",
    ),
    Claim(
        "quantity.diminishing",
        "quantity",
        "The last doubling of unlabelled images gains less than the first",
        _SOURCE,
        _SIZES,
        _diminishing,
    ),
    Claim(
        "quantity.saturates",
        "quantity",
        "The last doubling of unlabelled images changes accuracy by less than 1.5 points",
        _SOURCE,
        _SIZES,
        _last_doubling,
        "fig2-linear:last",
    ),
    Claim(
        "quantity.few-labels",
        "quantity",
        "With few labels fine-tuning a pretrained encoder beats training from scratch",
        _SOURCE + ", Fig. 2 bottom",
        "`protocol: fine-tune` for a pretraining and for `method: random`, few labels and many, 3 seeds",
        _few_labels,
        "fig2-fine-tune:few",
    ),
    Claim(
        "quantity.many-labels",
        "quantity",
        "With many labels fine-tuning a pretrained encoder equals training from scratch within 1.5 points",
        _SOURCE + ", Fig. 2 bottom",
        "`protocol: fine-tune` for a pretraining and for `method: random`, few labels and all, 3 seeds",
        _many_labels,
        "fig2-fine-tune:many",
    ),
    Claim(
        "quantity.crossover",
        "quantity",
        "With enough labels training from scratch overtakes a linear classifier on frozen features",
        _SOURCE + ", Fig. 2 top",
        "linear probes and `method: random` with `protocol: fine-tune` at the same label budgets, 3 seeds",
        _crossover,
        "fig2-linear:crossover",
    ),
)
