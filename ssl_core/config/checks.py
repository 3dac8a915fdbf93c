"""Checks of a config's fields: each raises an error that names the field, its value and what to use."""

from __future__ import annotations

import math
from collections.abc import Iterable


class FieldError(ValueError):
    """A field of a config has a value that it cannot have."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def require(condition: bool, field: str, value: object, what: str) -> None:
    """``field`` has a ``value`` that meets a condition; ``what`` says which values do."""
    if not condition:
        raise FieldError(field, f"{field} is {value}; use {what}")


def one_of(field: str, value: str, names: Iterable[str]) -> None:
    """``value`` is one of ``names``."""
    known = tuple(names)
    if value not in known:
        raise FieldError(field, f"{field} is {value!r}; use one of {', '.join(known)}")


def positive(value: float) -> bool:
    """Whether a number is finite and above 0."""
    return 0 < value < math.inf
