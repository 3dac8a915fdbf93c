"""SimCLR's own findings (Chen et al. 2020): composition of augmentations, head, batch and epochs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from ssl_sweep.sweep.report.claims.finding import Claim, Finding
from ssl_sweep.sweep.report.claims.judging import Test, by_budget, subtract
from ssl_sweep.sweep.report.claims.wording import count
from ssl_sweep.sweep.report.compare import Comparison, equal_but_for
from ssl_sweep.sweep.report.frame import plain, usual

_SOURCE = "Chen et al. 2020, "
_COMPOSED = (("crop-colour", "crop", "colour"), ("crop-colour-blur", "crop-blur", "colour-blur"))
_SIMCLR_IS = {"simclr": "crop-colour", "simclr-cifar": "crop-colour", "simclr-imagenet": "crop-colour-blur"}


def _over(rows: pd.DataFrame, axis: str, also: Sequence[str] = ()) -> list[Comparison]:
    mine = plain(usual(rows))
    return equal_but_for(mine[mine["method"] == "simclr"], axis, also)


def _composition(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    def tests(one: Comparison) -> list[Test]:
        # the paper's named policies are compositions too; each composition is kept once
        sides = {str(name): side for name, side in one.sides.items()}
        for name, composed in _SIMCLR_IS.items():
            if name in sides:
                sides.setdefault(composed, sides[name])
        return [
            Test(f"crop and colour together minus {part} alone:", subtract(sides[both], sides[part]))
            for both, *parts in _COMPOSED
            for part in parts
            if both in sides and part in sides
        ]

    yield from by_budget(claim, _over(rows, "views", ("strength", "blur")), tests)


def _head(claim: Claim, rows: pd.DataFrame, more: tuple[int, ...], less: int, what: str) -> Iterable[Finding]:
    def tests(one: Comparison) -> list[Test]:
        top = next((layers for layers in more if layers in one.sides), None)
        if top is None or less not in one.sides:
            return []
        return [Test(what, subtract(one.sides[top], one.sides[less]))]

    yield from by_budget(claim, _over(rows, "head_layers", ("head_dim",)), tests)


def _non_linear(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    yield from _head(claim, rows, (2, 3), 1, "a non-linear head minus a linear one:")


def _any_head(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    yield from _head(claim, rows, (1,), 0, "a linear head minus no head:")


def _before_head(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    mine = plain(usual(rows, representation=None))
    mine = mine[mine["method"] == "simclr"]

    def tests(one: Comparison) -> list[Test]:
        if not {"h", "g(h)"} <= set(one.sides):
            return []
        return [
            Test(
                "the features before the head minus those after it:",
                subtract(one.sides["h"], one.sides["g(h)"]),
            )
        ]

    yield from by_budget(claim, equal_but_for(mine, "representation"), tests)


def _most_against_least(claim: Claim, found: Iterable[Comparison], what: str) -> Iterable[Finding]:
    def tests(one: Comparison) -> list[Test]:
        (least, a), (most, b) = (list(one.sides.items())[i] for i in (0, -1))
        return [Test(what.format(most=count(most), least=count(least)), subtract(b, a))]

    yield from by_budget(claim, found, tests)


def _batch(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    what = "a batch of {most} minus a batch of {least}:"
    yield from _most_against_least(claim, _over(rows, "batch", ("steps",)), what)


def _epochs(claim: Claim, rows: pd.DataFrame) -> Iterable[Finding]:
    what = "{most} epochs minus {least} epochs:"
    yield from _most_against_least(claim, _over(rows, "epochs", ("steps", "warmup_epochs")), what)


CLAIMS = (
    Claim(
        "simclr.composition",
        "simclr",
        "Crop and colour together beat either alone",
        _SOURCE + "section 3.1, Fig. 5",
        "`views: [crop, colour, crop-colour]`, 3 seeds",
        _composition,
    ),
    Claim(
        "simclr.non-linear-head",
        "simclr",
        "A non-linear projection head beats a linear one",
        _SOURCE + "section 4.2, Fig. 8",
        "`head_layers: [1, 2]`, 3 seeds",
        _non_linear,
        "simclr-head:linear",
    ),
    Claim(
        "simclr.any-head",
        "simclr",
        "A linear projection head beats no head",
        _SOURCE + "section 4.2, Fig. 8",
        "`head_layers: [0, 1]`, 3 seeds",
        _any_head,
        "simclr-head:none",
    ),
    Claim(
        "simclr.before-the-head",
        "simclr",
        "The features before the projection head beat those after it",
        _SOURCE + "section 4.2",
        "`representation: [h, g(h)]`, 3 seeds",
        _before_head,
    ),
    Claim(
        "simclr.batch",
        "simclr",
        "A larger batch helps",
        _SOURCE + "section 5.2, Table B.1",
        "`batch: [128, 256, 512]`, 3 seeds",
        _batch,
        "simclr-batch-epochs:batch",
    ),
    Claim(
        "simclr.epochs",
        "simclr",
        "Training for longer helps",
        _SOURCE + "section 5.2, Table B.1",
        "`epochs: [20, 60]`, 3 seeds",
        _epochs,
        "simclr-batch-epochs:epochs",
    ),
)
