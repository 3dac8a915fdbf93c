"""Numbers, verdicts and lenses in words, for the page and for findings.md."""

from __future__ import annotations

from collections.abc import Hashable

from ssl_sweep.sweep.report.statistics import Estimate, Verdict

SIGNS: dict[Verdict, str] = {"holds": "✓", "does not hold": "✗", "not enough evidence": "?"}
"""A verdict's sign, so that it does not depend on colour."""
LENSES = {
    "quantity": "Data quantity",
    "domain": "Data domain",
    "quality": "Image quality",
    "granularity": "Label granularity",
    "pretext": "Pretext tasks and methods",
    "transfer": "Transfer",
    "imbalance": "Imbalance",
    "simclr": "SimCLR's choices",
}
"""Titles of the lenses, in the order of the report."""
READING = (
    "**Pretraining.** Self-supervised pretraining shows a network images without their labels; supervised"
    " pretraining shows the labels too. “Labels” counts the labelled images that are learnt from afterwards.",
    "**Protocols.** For a linear probe the pretrained network stays as it is, and a linear classifier learns"
    " the labels from its output. Fine-tuning trains the whole network. “From scratch” does so without"
    " pretraining. An untrained (random) encoder with a linear probe is the baseline.",
    "**Numbers.** Top-1 accuracy is the share of the dataset's fixed test images whose first answer is right."
    " A point is a percentage point of it.",
    "**Intervals.** n counts pretraining seeds; the seeds of the subset and of the label budget are averaged"
    " within each. A 95 % interval covers the luck of the seeds and of the test images. Two bars that overlap"
    " can still differ: the findings compare seed by seed on the same images.",
    "**Verdicts.** A statement holds if there are 3 pretraining seeds or more and the interval of the"
    " difference excludes 0 on the stated side. It does not hold if the interval is on the other side, or"
    " within ± 1.5 points of 0. Anything else is not enough evidence and says nothing about the statement. A"
    " crossing that is not seen up to the most labels tried can lie beyond them: it is not refuted.",
    "**Equality.** “Equals”, “the same” and “less than 1.5 points” hold if the interval is within ± 1.5"
    " points. They do not hold if it is wholly outside.",
    "**Gaps.** × or a hatched cell is a question of the grid without an answer yet. Nothing is filled in.",
    "**Scope.** These are statements about this data, at these sizes, with these settings. A study of a"
    " million images can come out differently from one of a thousand.",
)
"""How to read a report."""


def signed(share: float) -> str:
    """A share of 1 as points: +1.2, −0.4, 0.0."""
    text = f"{100 * share:+.1f}".replace("-", "−")
    return "0.0" if text in ("+0.0", "−0.0") else text


def points(difference: Estimate | None) -> str:
    """`+1.2 points (95 % −0.4 … +2.8, n = 3)`"""
    if difference is None:
        return "? points (no pretraining seed has both sides yet)"
    if difference.low is None or difference.high is None:
        return f"{signed(difference.mean)} points (n = {difference.n}, no interval)"
    span = f"{_bound(difference.low)} … {_bound(difference.high)}"
    return f"{signed(difference.mean)} points (95 % {span}, n = {difference.n})"


def _bound(share: float) -> str:
    """An end of an interval, precise enough to show on which side of 0 it lies."""
    text = signed(share)
    return text if text != "0.0" or abs(share) < 5e-5 else f"{100 * share:+.2f}".replace("-", "−")


def count(value: Hashable) -> str:
    """4000 → 4,000"""
    return f"{float(str(value)):,.0f}"


def labels(budget: int) -> str:
    """4000 → 4,000 labels"""
    return f"{budget:,} label" + ("" if budget == 1 else "s")


def conclusion(verdict: Verdict, statement: str) -> str:
    """A sentence without its full stop: what a verdict says about a statement, as ``Claim.statement``."""
    lowered = statement[0].lower() + statement[1:] if statement[1:2].islower() else statement
    match verdict:
        case "holds":
            return f"It holds that {lowered}"
        case "does not hold":
            return f"It does not hold that {lowered}"
        case _:
            return f"There is not enough evidence that {lowered}"
