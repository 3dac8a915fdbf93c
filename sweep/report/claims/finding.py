"""How a claim is declared, and what its finding is on the data of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

from ssl_sweep.sweep.report.statistics import Estimate, Verdict


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One statement of the literature, judged in one scope."""

    claim_id: str
    lens: str
    """A key of ``wording.LENSES``."""
    statement: str
    source: str
    """Paper and section that made the statement."""
    scope: str
    """What it is judged on, such as an evaluation domain."""
    verdict: Verdict
    estimate: Estimate | None
    """The deciding difference, as a share of 1; None if nothing pairs."""
    n: int
    """Pretraining seeds behind it."""
    brief: str
    """The numbers, named."""
    detail: str
    """Sentences with the numbers and what they mean for the statement."""
    needs: str = ""
    """The cells that would decide it; "" if it is decided."""
    paper_key: str = ""
    """Key of the published numbers in ``paper_differences.csv``; "" if the claim has no numbers."""
    budget: int | None = None
    """Labelled images it is judged at; None if it spans several label budgets."""


@dataclass(frozen=True)
class Claim:
    """A statement of the literature, and how it is judged."""

    id: str
    lens: str
    statement: str
    """Starts with a capital and has no full stop."""
    source: str
    needs: str
    """The cells that a sweep needs for it."""
    judge: Callable[[Claim, pd.DataFrame], Iterable[Finding]]
    """Takes the rows of a sweep, unfinished ones too; gives one finding per scope that it has cells for."""
    paper_key: str = ""
    all_levels: bool = False
    """Whether ``judge`` sees all label levels of each dataset, else only the finest."""

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
