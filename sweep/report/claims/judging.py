"""From comparisons to findings: a claim is tested at every label budget and decided at the largest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ssl_sweep.sweep.report.claims.finding import Claim, Finding
from ssl_sweep.sweep.report.claims.wording import conclusion, labels, points
from ssl_sweep.sweep.report.compare import Comparison, Family, families
from ssl_sweep.sweep.report.statistics import (
    MARGIN,
    MIN_SEEDS,
    Estimate,
    Runs,
    Verdict,
    contrast,
    equivalence,
    together,
    verdict,
)

Terms = Sequence[tuple[float, Runs]]
_MOST_SHOWN = 5


@dataclass(frozen=True)
class Test:
    """A difference and what is claimed of it: above 0, below 0, or the same within ± ``margin``.

    If above or below is claimed, a difference that is surely within ± ``margin`` refutes it.
    """

    __test__ = False  # pytest looks for classes of this name

    what: str
    """Names the difference; the number follows."""
    terms: Terms
    claimed: Literal["above", "below", "same"] = "above"
    margin: float = MARGIN
    """A share of 1."""

    def estimate(self) -> Estimate | None:
        return contrast(self.terms)

    def judge(self, found: Estimate | None) -> Verdict:
        if self.claimed == "same":
            return equivalence(found, self.margin)
        return verdict(found, 1 if self.claimed == "above" else -1, margin=self.margin)

    def needs(self, found: Estimate | None) -> str:
        """What would decide it."""
        pending = sum(int(np.isnan(runs.values).sum()) for _, runs in self.terms)
        if pending:
            return f"{pending} cells of this comparison are not finished: run the sweep to its end"
        if found is None:
            return "the same pretraining seeds on every side, finished"
        if found.n < MIN_SEEDS:
            return (
                f"{MIN_SEEDS} pretraining seeds on every side (seed: [0, 1, 2]); {found.n} in common so far"
            )
        return "more pretraining seeds or test images: the interval is too wide to decide"


def subtract(a: Runs, b: Runs) -> Terms:
    return [(1.0, a), (-1.0, b)]


def by_budget(
    claim: Claim,
    comparisons: Iterable[Comparison],
    tests: Callable[[Comparison], Sequence[Test]],
    *,
    smallest: bool = False,
    budgets: int = 1,
) -> Iterator[Finding]:
    """One finding per family of comparisons. Comparisons without a test are skipped.

    All tests must hold at the label budget that decides: the largest with enough seeds for a verdict, else
    the largest with any numbers.

    Args:
        tests: the tests of a comparison.
        smallest: whether the smallest label budget decides instead of the largest.
        budgets: skip families with fewer label budgets; a single one is neither few labels nor many.
    """
    tested = [one for one in comparisons if tests(one)]
    for family in families(tested):
        if len(family.budgets) >= budgets:
            yield _finding(claim, family, tests, smallest)


def _finding(
    claim: Claim, family: Family, tests: Callable[[Comparison], Sequence[Test]], smallest: bool
) -> Finding:
    judged = {budget: [_judged(test) for test in tests(one)] for budget, one in family.budgets.items()}
    order = sorted(judged, reverse=not smallest)  # max takes the first of them
    main = max(
        order,
        key=lambda budget: (
            sum(one.n >= MIN_SEEDS for one in judged[budget]),
            sum(one.n > 0 for one in judged[budget]),
        ),
    )
    found = judged[main]
    overall = together([one.verdict for one in found])
    deciding = next((one for one in found if one.verdict == overall), found[0])
    if overall == "holds":
        deciding = min(found, key=lambda one: abs(one.mean) * (-1 if one.test.claimed == "same" else 1))
    brief = _brief(found, deciding)
    more = "; ".join(filter(None, (brief, family.budgets[main].chosen)))
    detail = f"On {family.scope}, with {labels(main)}: {more}. {conclusion(overall, claim.statement)}."
    others = [
        f"{labels(budget)} {points(next(o for o in judged[budget] if _same_question(o, deciding)).estimate)}"
        for budget in sorted(judged)
        if budget != main and any(_same_question(o, deciding) for o in judged[budget])
    ]
    if others:
        detail += f" At other label budgets: {'; '.join(others)}."
    needs = deciding.test.needs(deciding.estimate) if overall == "not enough evidence" else ""
    return claim.finding(family.scope, overall, deciding.estimate, brief, detail, needs=needs, budget=main)


def _brief(found: Sequence[_Judged], deciding: _Judged) -> str:
    """Each test with its numbers; if there are many, those that decide, and a count of the others."""
    first = found
    if len(found) > _MOST_SHOWN:
        first = sorted(found, key=lambda one: (one is not deciding, one.verdict != deciding.verdict))
    shown = [f"{one.test.what} {points(one.estimate)}" for one in first[:_MOST_SHOWN]]
    rest = [one.verdict for one in first[_MOST_SHOWN:]]
    counts = [f"{rest.count(verdict)} × {verdict}" for verdict in dict.fromkeys(rest)]
    more = [f"and {len(rest)} more such differences: {', '.join(counts)}"] if rest else []
    return "; ".join([*shown, *more])


@dataclass(frozen=True)
class _Judged:
    test: Test
    estimate: Estimate | None
    verdict: Verdict

    @property
    def mean(self) -> float:
        return self.estimate.mean if self.estimate else 0.0

    @property
    def n(self) -> int:
        return self.estimate.n if self.estimate else 0


def _judged(test: Test) -> _Judged:
    found = test.estimate()
    return _Judged(test, found, test.judge(found))


def _same_question(one: _Judged, other: _Judged) -> bool:
    return one.test.what == other.test.what
