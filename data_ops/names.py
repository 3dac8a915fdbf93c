"""Helping with misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, choices: Iterable[str]) -> str:
    """Ends a sentence on an unknown name: `, did you mean 'x'?` with the closest choice, a full stop without one."""
    close = difflib.get_close_matches(name, list(choices), n=1)
    return f", did you mean {close[0]!r}?" if close else "."
