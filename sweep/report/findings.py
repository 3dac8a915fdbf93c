"""All findings of a sweep, and findings.md."""

from __future__ import annotations

import pandas as pd

from sweep.report.claims.finding import Finding

__all__ = ["Finding", "findings", "findings_markdown"]


def findings(frame: pd.DataFrame) -> list[Finding]:
    """Every claim judged on what is there, by lens; a claim whose cells a sweep lacks gives no finding."""
    raise NotImplementedError


def findings_markdown(found: list[Finding]) -> str:
    """findings.md: the manager's five questions answered, then each lens, then how to read it."""
    raise NotImplementedError
