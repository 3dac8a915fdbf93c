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

CONTRASTIVE = ("simclr", "moco-v2", "byol")
UNTRAINED_DIFFERS = tuple(name for name in PRETRAINING if name not in ("encoder", "image_size"))
"""Columns in which an untrained encoder may differ: all that say how an encoder was trained."""
_SOURCE = "Cole et al. 2022, section 4.1"
_SIZES = "the same pretraining with several numbers of images (`images: [2k, 4k, 8k]`), 3 seeds"


def sizes(rows: pd.DataFrame) -> list[Comparison]:
    """In-domain pretrainings that differ in the number of images only, at equal epochs or at equal steps."""
    mine = in_domain(self_supervised(plain(usual(rows))))
    found = equal_but_for(mine, "images", ("steps",)) + equal_but_for(mine, "images", ("epochs",))
    return list({_question(one): one for one in reversed(found)}.values())[::-1]


def _question(one: Comparison) -> tuple[Hashable, ...]:
    """What identifies a comparison that is found both at equal epochs and at equal steps."""
    same = tuple(value for name, value in one.same.items() if name not in ("steps", "epochs"))
    return same, tuple(one.sides)


def _last_doubling(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    def tests(one: Comparison) -> list[Test]:
        (n0, a), (n1, b) = list(one.sides.items())[-2:]
        what = f"from {count(n0)} to {count(n1)} unlabelled images top-1 changes by"
        return [Test(what, subtract(b, a), "same")]

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
        early, late = 1 / math.log2(n1 / n0), 1 / math.log2(n3 / n2)  # per doubling
        what = f"gain of the doubling from {count(n0)} images minus gain of the doubling to {count(n3)}:"
        return [Test(what, [(early, b), (-early, a), (-late, d), (late, c)], margin=0.0)]

    yield from by_budget(claim, sizes(rows), tests)


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
