"""Pretext tasks and the other contrastive methods (Gidaris et al. 2018; Cole et al. 2022, Fig. 3)."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from ssl_sweep.sweep.report.claims.finding import Claim, Finding
from ssl_sweep.sweep.report.claims.judging import Test, by_budget, subtract
from ssl_sweep.sweep.report.claims.overtaking import PRETRAINED, SCRATCH, overtaking
from ssl_sweep.sweep.report.claims.quantity import UNTRAINED_DIFFERS
from ssl_sweep.sweep.report.compare import HOW_CLASSIFIED, RECIPE, Comparison, against, equal_but_for, largest
from ssl_sweep.sweep.report.frame import in_domain, plain, scratch, self_supervised, usual

_ROTNET = "Gidaris et al. 2018, low-label CIFAR-10"
_ROTATION = (
    "`method: rotation` (linear or fine-tune) and `method: random` with `protocol: fine-tune`, 3 seeds"
)


def _rotation(rows: pd.DataFrame) -> list[Comparison]:
    found = []
    for protocol in ("linear", "fine-tune"):
        mine = in_domain(plain(usual(rows, protocol)))
        mine = largest(mine[mine["method"] == "rotation"], "images")
        differing = (*UNTRAINED_DIFFERS, *(HOW_CLASSIFIED if protocol == "linear" else ()))
        found += against(mine, scratch(usual(rows, "fine-tune")), (PRETRAINED, SCRATCH), differing)
    return found


def _few(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    def tests(one: Comparison) -> list[Test]:
        how = "a linear probe" if one.same["protocol"] == "linear" else "fine-tuning"
        what = f"rotation pretraining with {how} minus training from scratch:"
        return [Test(what, subtract(one.sides[PRETRAINED], one.sides[SCRATCH]))]

    yield from by_budget(claim, _rotation(rows), tests, smallest=True, budgets=2)


def _crossover(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    yield from overtaking(claim, _rotation(rows))


def methods(rows: pd.DataFrame) -> list[Comparison]:
    """In-domain encoders of the same images that differ in the method, each with its own recipe."""
    return equal_but_for(in_domain(self_supervised(plain(usual(rows)))), "method", RECIPE)


def _contrastive(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    def tests(one: Comparison) -> list[Test]:
        tasks = [name for name in ("rotation", "jigsaw", "inpainting") if name in one.sides]
        if "simclr" not in one.sides:
            return []
        return [
            Test(f"SimCLR minus {task}:", subtract(one.sides["simclr"], one.sides[task])) for task in tasks
        ]

    yield from by_budget(claim, methods(rows), tests)


def _byol(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    def tests(one: Comparison) -> list[Test]:
        if not {"byol", "simclr"} <= set(one.sides):
            return []
        return [Test("BYOL minus SimCLR:", subtract(one.sides["byol"], one.sides["simclr"]))]

    yield from by_budget(claim, methods(rows), tests)


def _moco(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    def tests(one: Comparison) -> list[Test]:
        if not {"moco-v2", "simclr"} <= set(one.sides):
            return []
        what = "MoCo v2 minus SimCLR:"
        return [Test(what, subtract(one.sides["moco-v2"], one.sides["simclr"]), "same")]

    yield from by_budget(claim, methods(rows), tests)


CLAIMS = (
    Claim(
        "pretext.rotation-few-labels",
        "pretext",
        "With few labels rotation pretraining beats training from scratch",
        _ROTNET,
        _ROTATION,
        _few,
        "rotnet:few",
    ),
    Claim(
        "pretext.rotation-crossover",
        "pretext",
        "With enough labels training from scratch overtakes rotation pretraining",
        _ROTNET,
        _ROTATION,
        _crossover,
        "rotnet:crossover",
    ),
    Claim(
        "pretext.contrastive-ahead",
        "pretext",
        "Contrastive learning beats the pretext tasks",
        "Chen et al. 2020, Table 6",
        "`method: [simclr, rotation]` on the same images, 3 seeds",
        _contrastive,
    ),
    Claim(
        "pretext.byol-ahead",
        "pretext",
        "BYOL beats SimCLR",
        "Cole et al. 2022, Fig. 3 (iNat21)",
        "`method: [simclr, byol]` on the same images, 3 seeds",
        _byol,
        "fig3:byol",
    ),
    Claim(
        "pretext.moco-equal",
        "pretext",
        "MoCo equals SimCLR within 1.5 points",
        "Cole et al. 2022, Fig. 3 (iNat21)",
        "`method: [simclr, moco-v2]` on the same images, 3 seeds",
        _moco,
        "fig3:moco",
    ),
)
