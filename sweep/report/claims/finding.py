"""What a claim comes to on this data, and how a claim is declared."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

from ssl_sweep.sweep.report.statistics import Estimate, Verdict


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One statement of the literature, judged in one scope.

    Attributes:
        lens: quantity, domain, quality, granularity, pretext, transfer, imbalance or simclr.
        source: paper and section that made the statement.
        scope: what it is judged on, such as an evaluation domain.
        estimate: the deciding difference (shares of 1) or ratio; None where nothing pairs.
        n: pretraining seeds behind it.
        brief: the numbers alone.
        detail: a sentence with the numbers and what they say.
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
    brief: str
    detail: str
    needs: str = ""
    paper_key: str = ""
    budget: int | None = None


@dataclass(frozen=True)
class Claim:
    """`judge` takes the rows of a sweep, unfinished ones too, and gives one finding per scope that it has
    cells for; it sees the finest level of each dataset, or all of them."""

    id: str
    lens: str
    statement: str
    source: str
    needs: str
    judge: Callable[[Claim, pd.DataFrame], Iterable[Finding]]
    paper_key: str = ""
    all_levels: bool = False

    def finding(
        self,
        scope: str,
        verdict: Verdict,
        estimate: Estimate | None,
        brief: str,
        detail: str,
        *,
        needs: str = "",
        budget: int | None = None,
    ) -> Finding:
        """A finding of this claim."""
        return Finding(
            claim_id=self.id,
            lens=self.lens,
            statement=self.statement,
            source=self.source,
            scope=scope,
            verdict=verdict,
            estimate=estimate,
            n=estimate.n if estimate else 0,
            brief=brief,
            detail=detail,
            needs=needs,
            paper_key=self.paper_key,
            budget=budget,
        )
