"""The statements of the study and of the other sources, one module per lens.

For ``findings.py`` and the tests; a new claim is a ``Claim`` in the ``CLAIMS`` of its lens.
"""

from __future__ import annotations

from ssl_sweep.sweep.report.claims import (
    domain,
    granularity,
    imbalance,
    pretext,
    quality,
    quantity,
    simclr,
    transfer,
)
from ssl_sweep.sweep.report.claims.finding import Claim

__all__ = ["CLAIMS"]

CLAIMS: tuple[Claim, ...] = (
    *quantity.CLAIMS,
    *domain.CLAIMS,
    *quality.CLAIMS,
    *granularity.CLAIMS,
    *pretext.CLAIMS,
    *transfer.CLAIMS,
    *imbalance.CLAIMS,
    *simclr.CLAIMS,
)
