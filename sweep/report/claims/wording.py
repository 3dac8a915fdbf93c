"""Numbers as a manager reads them."""

from __future__ import annotations

from collections.abc import Hashable

from ssl_sweep.sweep.report.statistics import Estimate, Verdict


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
    """An end of an interval: on which side of 0 it lies is seen down to a hundredth of a point."""
    text = signed(share)
    return text if text != "0.0" or abs(share) < 5e-5 else f"{100 * share:+.2f}".replace("-", "−")


def count(value: Hashable) -> str:
    """4000 → 4,000"""
    return f"{float(str(value)):,.0f}"


def labels(budget: int) -> str:
    return f"{budget:,} label" + ("" if budget == 1 else "s")


def conclusion(verdict: Verdict, statement: str) -> str:
    """What a verdict says about a statement, which starts with a capital and has no full stop."""
    lowered = statement[0].lower() + statement[1:] if statement[1:2].islower() else statement
    match verdict:
        case "holds":
            return f"it holds that {lowered}"
        case "does not hold":
            return f"it does not hold that {lowered}"
        case _:
            return f"not enough evidence that {lowered}"
