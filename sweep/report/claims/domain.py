"""Which domain to pretrain on (Cole et al. 2022, section 4.2, Tables 1 to 3)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ssl_sweep.sweep.report.claims.finding import Claim, Finding
from ssl_sweep.sweep.report.claims.judging import Test, by_budget, subtract
from ssl_sweep.sweep.report.claims.wording import count
from ssl_sweep.sweep.report.compare import Comparison, against, equal_but_for
from ssl_sweep.sweep.report.frame import plain, self_supervised, usual

_SOURCE = "Cole et al. 2022, section 4.2"
_FUSION = ("fused_with", "fused_domain", "fused_method")


def sources(rows: pd.DataFrame) -> list[Comparison]:
    """Encoders that differ in the pretraining domain only, with equally many images; pools too."""
    return equal_but_for(self_supervised(plain(usual(rows))), "pretrain_domain", ("pool_shares",))


def _best(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    def tests(one: Comparison) -> list[Test]:
        own = str(one.same["eval_domain"])
        others = [str(name) for name in one.sides if name != own and "+" not in str(name)]
        if own not in one.sides:
            return []
        return [
            Test(
                f"pretraining on {own} minus pretraining on {other}:",
                subtract(one.sides[own], one.sides[other]),
            )
            for other in others
        ]

    yield from by_budget(claim, sources(rows), tests)


def _pooled(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    def tests(one: Comparison) -> list[Test]:
        own = str(one.same["eval_domain"])
        pools = [str(name) for name in one.sides if own in str(name).split("+") and name != own]
        if own not in one.sides:
            return []
        size = count(one.same["images"])
        return [
            Test(
                f"{size} images of {own} minus {size} of {' and '.join(pool.split('+'))}:",
                subtract(one.sides[own], one.sides[pool]),
            )
            for pool in pools
        ]

    yield from by_budget(claim, sources(rows), tests)


def _fused(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    """In-domain encoders alone, and fused with an encoder of another domain."""
    pairs = _own_first(self_supervised(plain(usual(rows, fused=True))))
    alone = plain(usual(rows))
    alone = alone[alone["pretrain_domain"] == alone["eval_domain"]]
    foreign = pairs[pairs["fused_domain"] != pairs["eval_domain"]]
    foreign = foreign[(foreign["fused_method"] == foreign["method"]) & ~_several(foreign)]

    def tests(one: Comparison) -> list[Test]:
        what = f"adding the features of an encoder of {one.same['fused_domain']} changes top-1 by"
        return [Test(what, subtract(one.sides["fused"], one.sides["alone"]), "same")]

    yield from by_budget(claim, against(foreign, alone, ("fused", "alone"), _FUSION), tests)


def _two_seeds(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    """What a second domain adds beyond what a second seed of the own domain adds."""
    pairs = _own_first(self_supervised(plain(usual(rows, fused=True))))
    pairs = pairs[(pairs["fused_method"] == pairs["method"]) & ~_several(pairs)]
    same = pairs["fused_domain"] == pairs["eval_domain"]

    def tests(one: Comparison) -> list[Test]:
        what = (
            f"adding an encoder of {one.same['fused_domain']} minus adding a second seed of the own domain:"
        )
        return [Test(what, subtract(one.sides["other domain"], one.sides["other seed"]), "same")]

    pairs_of = against(pairs[~same], pairs[same], ("other domain", "other seed"), _FUSION)
    yield from by_budget(claim, pairs_of, tests)


def _several(rows: pd.DataFrame) -> pd.Series:
    """Whether more than one encoder was added, by row."""
    return rows["fused_with"].str.contains(" + ", regex=False)


def _own_first(fused: pd.DataFrame) -> pd.DataFrame:
    """The rows whose first encoder is in-domain, with the seed removed from the other's label.

    Features joined in the other order are the same. Such a row is used if this order is missing and the
    encoders differ in their domains only.
    """
    seed = fused["fused_with"].str.extract(r"seed (\d+)$", expand=False)
    fused = fused.assign(
        fused_with=fused["fused_with"].str.replace(re.compile(r" · seed \d+$"), "", regex=True)
    )
    own = fused[fused["pretrain_domain"] == fused["eval_domain"]]
    other = fused[
        (fused["fused_domain"] == fused["eval_domain"])
        & (fused["pretrain_domain"] != fused["eval_domain"])
        & ~_several(fused)
        & seed.notna()
    ]
    other = other[np.array([_alike(row) for row in other.to_dict("records")], dtype=bool)]
    other = other.assign(
        pretrain_seed=pd.to_numeric(seed[other.index]).astype("int64"),
        pretrain_domain=other["fused_domain"],
        fused_domain=other["pretrain_domain"],
        fused_with="",
    )
    pair = ["eval_domain", "method", "images", "fused_domain", "fused_method"]
    there = set(own[pair].itertuples(index=False, name=None))
    new = [key not in there for key in other[pair].itertuples(index=False, name=None)]
    return pd.concat([own, other[np.array(new, dtype=bool)]])


def _alike(row: Mapping[str, Any]) -> bool:
    """Whether the joined encoder differs from the first in its domain only."""
    images = "" if math.isnan(row["images"]) else f"{row['images']:.0f}"
    return row["fused_with"] == " · ".join([row["method"], row["fused_domain"], images, row["corruption"]])


CLAIMS = (
    Claim(
        "domain.in-domain-best",
        "domain",
        "Pretraining on images of the evaluation domain beats every other domain at equal size",
        _SOURCE + ", Table 1",
        "pretrainings on the evaluation domain and on another one with as many images, 3 seeds",
        _best,
        "table1",
    ),
    Claim(
        "domain.pooled",
        "domain",
        "Images of the evaluation domain only beat a pool of domains of the same size",
        _SOURCE + ", Table 2",
        "a pool (`domain: [[a, b]]`) and one of its domains with as many images in total, 3 seeds",
        _pooled,
        "table2",
    ),
    Claim(
        "domain.fusion",
        "domain",
        "Adding the features of another domain's encoder changes accuracy by less than 1.5 points",
        _SOURCE + ", Table 3",
        "an in-domain encoder alone and fused with another domain's encoder, 3 seeds",
        _fused,
        "table3-gain",
    ),
    Claim(
        "domain.fusion-control",
        "domain",
        "Adding another domain's encoder gains the same as adding a second seed within 1.5 points",
        _SOURCE + ", Table 3, with our own control",
        "fusions of an in-domain encoder with another domain's encoder and with another seed, 3 seeds",
        _two_seeds,
    ),
)
