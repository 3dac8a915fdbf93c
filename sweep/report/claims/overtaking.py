"""Whether one curve over label budgets is ahead with few labels and behind with many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from ssl_sweep.sweep.report.claims.finding import Claim, Finding
from ssl_sweep.sweep.report.claims.judging import Test, subtract
from ssl_sweep.sweep.report.claims.wording import conclusion, labels, points
from ssl_sweep.sweep.report.compare import Comparison, families
from ssl_sweep.sweep.report.curves import NotFitted, crossover
from ssl_sweep.sweep.report.statistics import Estimate, together

PRETRAINED, SCRATCH = "pretrained", "from scratch"


def overtaking(claim: Claim, pairs: Iterable[Comparison]) -> Iterator[Finding]:
    """One finding per family; the estimate is scratch minus pretrained at the largest label budget."""
    for family in families(pairs):
        budgets = list(family.budgets)
        if len(budgets) < 2:
            continue
        first, last = (family.budgets[budgets[i]] for i in (0, -1))
        behind = Test("", subtract(first.sides[SCRATCH], first.sides[PRETRAINED]), "below", margin=0.0)
        ahead = Test("", subtract(last.sides[SCRATCH], last.sides[PRETRAINED]), margin=0.0)
        found = [(test, test.estimate()) for test in (behind, ahead)]
        verdict = together([test.judge(one) for test, one in found])
        where = crossover(
            *(
                pd.concat([one.sides[name].frame() for one in family.budgets.values()])
                for name in (PRETRAINED, SCRATCH)
            )
        )
        brief = (
            f"training from scratch minus the pretrained encoder is {points(found[0][1])} with"
            f" {labels(budgets[0])} and {points(found[1][1])} with {labels(budgets[-1])}; {_place(where)}"
        )
        detail = f"On {family.scope}, {brief}. {conclusion(verdict, claim.statement)}."
        open_test = next(((t, e) for t, e in found if t.judge(e) == "not enough evidence"), found[1])
        needs = open_test[0].needs(open_test[1]) if verdict == "not enough evidence" else ""
        yield claim.finding(family.scope, verdict, found[1][1], brief, detail, needs=needs)


def _place(where: Estimate | NotFitted) -> str:
    if isinstance(where, NotFitted):
        return where.reason
    at = f"the curves cross at about {where.mean:,.0f} labels"
    if where.low is None or where.high is None:
        return f"{at} (n = {where.n}, no interval)"
    return f"{at} (95 % {where.low:,.0f} … {where.high:,.0f}, n = {where.n})"
