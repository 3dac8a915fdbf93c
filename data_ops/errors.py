"""The errors of this package for input that cannot be used, and hints for misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DataError(Exception):
    """Images, labels, policies or sizes that cannot be used; the message says what, where and what to do."""


class BadImageError(DataError):
    """An image whose bytes were read but cannot be decoded."""

    what: str
    """What is wrong with it, without its name."""
    content: str
    """A hash of the bytes: the same whatever the file is called."""

    def __init__(self, name: str, what: str, content: str) -> None:
        super().__init__(f"{name}: {what}")
        self.what, self.content = what, content


def nearest(word: str, names: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the nearest of ``names``, or an empty string if none is close."""
    close = difflib.get_close_matches(word, sorted(set(names)), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
