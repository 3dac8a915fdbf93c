"""Whole numbers as text: pandas writes a column of integers as 1.0, 2.0, … if one of its cells is empty.

So a training table with unlabelled images says "1.0", and the test table says "1". If all labels of a column
are whole numbers, the two are one class. Otherwise text stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

READ = "whole numbers without their point"
"""Marks a listing whose labels were changed (see ``listing.read_otherwise``)."""
_WHOLE = re.compile(r"[0-9]+(?:\.0+)?")

Column = Sequence[str | None]


def without_point(here: Column, there: Callable[[], Iterable[str | None]]) -> list[str | None] | None:
    """A column of one split with "1" for "1.0", or None if nothing changes.

    ``there`` reads the column of the other split. It is called only if this one has such numbers.
    """
    if not any(cell is not None and "." in cell for cell in here):
        return None
    if not _all_whole(here) or not _all_whole(there()):
        return None
    return [None if cell is None else cell.partition(".")[0] for cell in here]


def _all_whole(cells: Iterable[str | None]) -> bool:
    return all(cell is None or _WHOLE.fullmatch(cell) for cell in cells)
