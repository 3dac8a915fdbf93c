"""Whether one curve over label budgets is ahead with few labels and behind with many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from ssl_sweep.sweep.report.claims.finding import Claim, Finding
from ssl_sweep.sweep.report.claims.judging import Test, subtract
from ssl_sweep.sweep.report.claims.wording import conclusion, labels, points
from ssl_sweep.sweep.report.compare import Comparison, families
from ssl_sweep.sweep.report.curves import NotFitted, crossover
from ssl_sweep.sweep.report.statistics import Estimate, Verdict

PRETRAINED, SCRATCH = "pretrained", "from scratch"


def overtaking(claim: Claim, pairs: Iterable[Comparison]) -> Iterator[Finding]:
    """One finding per family; the estimate is scratch minus pretrained at the largest label budget.

    More labels could always bring the crossing, so nothing refutes the claim: a sweep without a crossing says
    up to how many labels it was not seen.
    """
    for family in families(pairs):
        budgets = list(family.budgets)
        if len(budgets) < 2:
            continue
        first, last = (family.budgets[budgets[i]] for i in (0, -1))
        behind = Test("", subtract(first.sides[SCRATCH], first.sides[PRETRAINED]), "below", margin=0.0)
        ahead = _ahead(last)
        found = [(test, test.estimate()) for test in (behind, ahead)]
        verdicts = [test.judge(one) for test, one in found]
        verdict: Verdict = "holds" if set(verdicts) == {"holds"} else "not enough evidence"
        never = verdicts[1] == "does not hold" and not any(map(_surely_ahead, family.budgets.values()))
        up_to = f"not up to {labels(budgets[-1])}: " if never else ""
        where = crossover(
            *(
                pd.concat([one.sides[name].frame() for one in family.budgets.values()])
                for name in (PRETRAINED, SCRATCH)
            )
        )
        brief = (
            f"{up_to}training from scratch minus the pretrained encoder is {points(found[0][1])}"
            f" with {labels(budgets[0])} and {points(found[1][1])} with {labels(budgets[-1])};"
            f" {_place(where)}"
        )
        chosen = dict.fromkeys(one.chosen for one in (first, last) if one.chosen)
        more = "; ".join([brief, *chosen])
        detail = f"On {family.scope}, {more}. {conclusion(verdict, claim.statement)}."
        needs = "" if verdict == "holds" else _needs(found, verdicts, budgets)
        yield claim.finding(family.scope, verdict, found[1][1], brief, detail, needs=needs)


def _ahead(one: Comparison) -> Test:
    return Test("", subtract(one.sides[SCRATCH], one.sides[PRETRAINED]), margin=0.0)


def _surely_ahead(one: Comparison) -> bool:
    test = _ahead(one)
    return test.judge(test.estimate()) == "holds"


def _needs(found: list[tuple[Test, Estimate | None]], verdicts: list[Verdict], budgets: list[int]) -> str:
    """What would show a crossing."""
    if verdicts[1] == "does not hold":
        return f"more labels than {budgets[-1]:,}: from scratch is still behind with those"
    for (test, one), judged in zip(found, verdicts, strict=True):
        if judged == "not enough evidence":
            return test.needs(one)
    return f"fewer labels than {budgets[0]:,}: from scratch is already ahead with those"


def _place(where: Estimate | NotFitted) -> str:
    if isinstance(where, NotFitted):
        return where.reason
    at = f"the curves cross at about {where.mean:,.0f} labels"
    if where.low is None or where.high is None:
        return f"{at} (n = {where.n}, no interval)"
    return f"{at} (95 % {where.low:,.0f} … {where.high:,.0f}, n = {where.n})"
