"""Numbers that the papers print or plot, with their evidence, to lay over one's own.

`paper_numbers.csv`: one number per row. Evidence: EXACT, printed digits; DIGITISED, measured on a figure
(`error`, in the value's unit); SECONDARY, stated by others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import pandas as pd


@dataclass(frozen=True)
class PaperNumber:
    """`value` and `error` are shares of 1 (differences too); `error` NaN where none is stated."""

    value: float
    error: float
    evidence: str
    source: str


class PaperNumbers:
    """The numbers as a frame, and one by its place."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame

    def table(self, figure: str, **where: object) -> pd.DataFrame:
        """The rows of a figure or table, such as "fig2-linear", whose columns have these values."""
        rows = self.frame[self.frame["figure"] == figure]
        for name, value in where.items():
            rows = rows[rows[name] == value]
        return rows.reset_index(drop=True)

    def number(self, figure: str, **where: object) -> PaperNumber | None:
        """The one number there; None where there is none or several."""
        rows = self.table(figure, **where)
        if len(rows) != 1:
            return None
        row: Mapping[str, object] = rows.iloc[0].to_dict()
        return PaperNumber(
            float(str(row["value"])), float(str(row["error"])), str(row["evidence"]), str(row["source"])
        )


@lru_cache(maxsize=1)
def paper_numbers() -> PaperNumbers:
    """The numbers shipped with the package."""
    with files("ssl_sweep.sweep.report").joinpath("paper_numbers.csv").open() as stream:
        return PaperNumbers(pd.read_csv(stream, comment="#", keep_default_na=True))
