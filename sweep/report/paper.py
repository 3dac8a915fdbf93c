"""The numbers that the papers print or plot, with their evidence.

``paper_numbers.csv`` has one number per row. Evidence: EXACT, printed digits; DIGITISED, measured on a
figure; READ, read off a figure by eye; SECONDARY, stated by others. ``paper_differences.csv`` says which
differences of these numbers stand behind a claim.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import pandas as pd

_EVIDENCE = ("SECONDARY", "READ", "DIGITISED", "EXACT")
"""The weakest first."""


@dataclass(frozen=True)
class PaperNumber:
    """A published number."""

    value: float
    """A share of 1; differences too."""
    error: float
    """Half-width of the reading, in the same unit; NaN if none is stated."""
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
        """The one number there; None if there are several or there is no such number."""
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
    return PaperNumbers(_shipped("paper_numbers.csv"))


def paper_keys() -> list[str]:
    """The ``paper_key`` of every claim that has published numbers."""
    return list(dict.fromkeys(_differences()["key"]))


def paper_difference(key: str) -> str:
    """What the source of a claim found, in words, by the claim's ``paper_key``; "" if it has no numbers.

    Raises:
        KeyError: a row of ``paper_differences.csv`` does not name exactly one number.
    """
    rows = _differences()
    return "; ".join(_in_words(row) for row in rows[rows["key"] == key].to_dict("records"))


@lru_cache(maxsize=1)
def _differences() -> pd.DataFrame:
    return _shipped("paper_differences.csv").fillna("")


def _in_words(row: Mapping[str, str]) -> str:
    places = [row["first"], *filter(None, [row["second"]])]
    numbers = [_number(row["figure"], place) for place in places]
    value = numbers[0].value - sum(number.value for number in numbers[1:])
    points = f"{100 * value:+.1f}".replace("-", "−")
    return f"{row['text']} {points} points ({_evidence(numbers)})"


def _number(figure: str, place: str) -> PaperNumber:
    """The number at a place such as ``eval=ImageNet; labels=10000``."""
    where = {name: _typed(value) for name, value in (part.split("=") for part in place.split("; "))}
    number = paper_numbers().number(figure, **where)
    if number is None:
        raise KeyError(f"paper_numbers.csv does not have exactly one number in {figure} at {place}")
    return number


def _typed(value: str) -> float | str:
    return float(value) if value.isdigit() else value


def _evidence(numbers: list[PaperNumber]) -> str:
    """The weakest evidence, with the reading error in points."""
    tag = min((number.evidence for number in numbers), key=_EVIDENCE.index)
    error = math.sqrt(sum(number.error**2 for number in numbers if number.error > 0))
    return f"{tag}, ± {100 * error:.1f}" if error else tag


def _shipped(name: str) -> pd.DataFrame:
    with files("ssl_sweep.sweep.report").joinpath(name).open(encoding="utf-8") as stream:
        return pd.read_csv(stream, comment="#")
