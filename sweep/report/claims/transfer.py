"""Self-supervised against supervised pretraining on another domain's images."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from ssl_sweep.sweep.report.claims.finding import Claim, Finding
from ssl_sweep.sweep.report.claims.judging import Test, by_budget, subtract
from ssl_sweep.sweep.report.claims.wording import count
from ssl_sweep.sweep.report.compare import RECIPE, SAME_IMAGES, Comparison, beside, equal_but_for
from ssl_sweep.sweep.report.frame import plain, self_supervised, usual
from ssl_sweep.sweep.report.style import method_name

_SOURCE = "How to Reduce Training Data with SSL (blog); qualified by Cole et al. 2022, Table 1"
_SSL, _LABELLED = "self-supervised", "supervised"
_METHODS = "`method: [simclr, supervised]` on the same images"
_LEVELS = ("level", "train_level")


def _both(rows: pd.DataFrame, axis: str, also: tuple[str, ...]) -> list[Comparison]:
    """Self-supervised and supervised encoders of the same images, each over ``axis``."""
    mine = plain(usual(rows))
    mine = mine[mine["pretrain_domain"] != ""]
    equal = tuple(name for name in SAME_IMAGES if name != axis and name not in also)
    labelled = equal_but_for(mine[mine["method"] == "supervised"], axis, also)
    return beside(equal_but_for(self_supervised(mine), axis, also), labelled, (_SSL, _LABELLED), equal)


def _ahead(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    mine = plain(usual(rows))
    pairs = zip(mine["pretrain_domain"], mine["eval_domain"], strict=True)
    other = [source != "" and target not in source.split("+") for source, target in pairs]
    foreign = mine[np.array(other, dtype=bool)]

    def tests(one: Comparison) -> list[Test]:
        labelled = one.sides.get("supervised")
        if labelled is None:
            return []
        source = f"pretrained on {one.same['pretrain_domain']}"
        return [
            Test(f"{method_name(method)} minus supervised, both {source}:", subtract(side, labelled))
            for method, side in one.sides.items()
            if method == "simclr"
        ]

    yield from by_budget(claim, equal_but_for(foreign, "method", RECIPE), tests)


def _domain_gap(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    def tests(one: Comparison) -> list[Test]:
        own = one.same["pretrain_domain"]
        targets = [value for name, value in one.sides if name == _SSL and value != own]
        if (_SSL, own) not in one.sides:
            return []
        lead = {
            value: [(1.0, one.sides[(_SSL, value)]), (-1.0, one.sides[(_LABELLED, value)])]
            for value in (*targets, own)
        }
        method = method_name(one.same["method"])
        return [
            Test(
                f"extra loss of supervised pretraining from {own} to {target}, compared with {method}:",
                [*lead[target], *((-weight, side) for weight, side in lead[own])],
            )
            for target in targets
        ]

    yield from by_budget(claim, _both(rows, "eval_domain", _LEVELS), tests)


def _scarce(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    def tests(one: Comparison) -> list[Test]:
        sizes = sorted({value for _, value in one.sides})
        if len(sizes) < 2 or one.same["pretrain_domain"] == one.same["eval_domain"]:
            return []
        few, many = (
            [(1.0, one.sides[(_SSL, size)]), (-1.0, one.sides[(_LABELLED, size)])]
            for size in (sizes[0], sizes[-1])
        )
        method = method_name(one.same["method"])
        what = (
            f"lead of {method} over supervised, pretrained on {count(sizes[0])} images of"
            f" {one.same['pretrain_domain']}, minus its lead with {count(sizes[-1])}:"
        )
        return [Test(what, [*few, *((-weight, side) for weight, side in many)])]

    found = _both(rows, "images", ("steps",)) or _both(rows, "images", ("epochs",))
    yield from by_budget(claim, found, tests)


CLAIMS = (
    Claim(
        "transfer.ahead",
        "transfer",
        "On another domain self-supervised pretraining beats supervised pretraining on the same images",
        _SOURCE,
        f"{_METHODS}, evaluated on another domain, 3 seeds",
        _ahead,
    ),
    Claim(
        "transfer.domain-gap",
        "transfer",
        "Self-supervised pretraining loses less than supervised pretraining when the domain changes",
        _SOURCE,
        f"{_METHODS}, evaluated on their own and on another domain with as many labels, 3 seeds",
        _domain_gap,
    ),
    Claim(
        "transfer.scarce-source",
        "transfer",
        "The fewer the pretraining images, the further self-supervised is ahead of supervised pretraining",
        _SOURCE,
        f"{_METHODS} with two numbers of images, evaluated on another domain, 3 seeds",
        _scarce,
    ),
)
