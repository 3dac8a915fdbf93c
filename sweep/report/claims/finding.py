"""What a claim comes to on this data, and how a claim is declared."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

from sweep.report.statistics import Estimate, Verdict


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One statement of the literature, judged in one scope.

    Attributes:
        lens: quantity, domain, quality, granularity, pretext, transfer, imbalance or simclr.
        source: paper and section that made the statement.
        scope: what it is judged on, such as an evaluation domain.
        estimate: the deciding difference (shares of 1) or ratio; None where nothing pairs.
        n: pretraining seeds behind it.
        detail: a sentence with the numbers.
        needs: the cells that would decide it; "" where it is decided.
        paper_key: key of the paper's number, "" for none.
        budget: labelled images it is judged at; None where it spans several.
    """

    claim_id: str
    lens: str
    statement: str
    source: str
    scope: str
    verdict: Verdict
    estimate: Estimate | None
    n: int
    detail: str
    needs: str = ""
    paper_key: str = ""
    budget: int | None = None


@dataclass(frozen=True)
class Claim:
    """`judge` takes the answered rows of a sweep and gives one finding per scope that it has cells for."""

    id: str
    lens: str
    statement: str
    source: str
    needs: str
    judge: Callable[[Claim, pd.DataFrame], Iterable[Finding]]
    paper_key: str = ""

    def finding(
        self,
        scope: str,
        verdict: Verdict,
        estimate: Estimate | None,
        detail: str,
        *,
        needs: str | None = None,
        budget: int | None = None,
    ) -> Finding:
        """A finding of this claim; `needs` defaults to the claim's own unless the verdict is decided."""
        if needs is None:
            needs = self.needs if verdict == "not enough evidence" else ""
        return Finding(
            claim_id=self.id,
            lens=self.lens,
            statement=self.statement,
            source=self.source,
            scope=scope,
            verdict=verdict,
            estimate=estimate,
            n=estimate.n if estimate else 0,
            detail=detail,
            needs=needs,
            paper_key=self.paper_key,
            budget=budget,
        )
