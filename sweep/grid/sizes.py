"""Sizes as users write them: 500, 50k, 1M, 2.5k, 50_000, all, 10 %."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from ssl_sweep.data_ops.sources.options import MOST_IMAGES
from ssl_sweep.sweep.grid.numbers import two_readings

MAX_COUNT = MOST_IMAGES
"""A larger number is surely a typing error and is refused, because arithmetic would overflow."""
_LONGEST = 100  # characters: far more than any size that is meant, and few enough to compute with
_COUNT = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?)\s*([kKmM]?)")
_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*%")
_FACTOR = {"": 1, "k": 1_000, "m": 1_000_000}


@dataclass(frozen=True)
class Size:
    """A number of images, a share of a dataset, or the whole dataset."""

    text: str
    """As written."""
    kind: Literal["count", "share", "all"]
    value: Fraction
    """Images of a count; a fraction of 1 for a share."""

    @property
    def canonical(self) -> str:
        """The same text for equal sizes in different spellings (2k, 2000)."""
        if self.kind == "all":
            return "all"
        return str(self.value) if self.kind == "count" else f"{_decimal(self.value * 100)}%"

    def resolve(self, total: int) -> int:
        """Number of images out of ``total``. Shares are rounded down; a count may exceed ``total``."""
        if self.kind == "count":
            return int(self.value)
        return int(self.value * total)


def _decimal(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):g}"


def parse_size(value: object) -> Size:
    """The size that a grid writes. Raises ValueError for anything but a size above zero."""
    if isinstance(value, Size):
        return value
    text = str(value).strip()
    if len(text) > _LONGEST:
        raise ValueError(f"a text of {len(text):,} characters is not a size; write 500, 50k, 1M, 10% or all")
    if unclear := two_readings(text):
        raise ValueError(unclear)
    if isinstance(value, float):
        if not value.is_integer():
            hint = f"; for a share write {value * 100:g}%" if 0 < value < 1 else ""
            raise ValueError(f"{value} is not a whole number of images{hint}")
        text = str(int(value))
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is not a size; write 500, 50k, 1M, 10% or all")
    if text.lower() == "all":
        return Size(text, "all", Fraction(1))
    if match := _PERCENT.fullmatch(text):
        share = Fraction(match[1]) / 100
        if not 0 < share <= 1:
            raise ValueError(f"{text} is not a share; choose more than 0% and at most 100%")
        return Size(text, "share", share)
    if match := _COUNT.fullmatch(text):
        count = Fraction(match[1].replace("_", "")) * _FACTOR[match[2].lower()]
        if count.denominator != 1:
            raise ValueError(f"{text} is not a whole number of images")
        if count < 1:
            raise ValueError(f"{text} is too small; choose at least 1")
        if count > MAX_COUNT:
            raise ValueError(f"{text} is too large; choose at most {MAX_COUNT:,}")
        return Size(text, "count", count)
    raise ValueError(f"{text!r} is not a size; write 500, 50k, 1M, 10% or all")
