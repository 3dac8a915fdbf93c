"""What a label is: one cleaning for every format, over both splits together.

Surrounding blanks are stripped, and text is normalised to Unicode's form NFC. One list says which spellings
are missing values. If all labels of a column are whole numbers, each has one spelling: pandas writes integers
beside empty cells as 1.0, and other programs pad them to 01.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from ssl_sweep.data_ops.errors import DataError

MISSING = ("-1", "nan", "NaN", "NAN", "None", "null", "NULL", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaT")
"""Spellings of a missing value if a dataset does not give its own: those that pandas, R and JSON write, and
-1. An empty cell is always missing."""
LONGEST = 1000
"""A label of more characters is a text, not a class."""
_INVISIBLE = "\u00ad\u115f\u1160\u180e\u2800\u3164\ufeff\uffa0" + "".join(
    map(chr, (*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A)))
)
"""Characters without ink that Unicode does not count as blanks."""
_EDGES = re.compile(rf"^[\s\x00-\x1f\x7f-\x9f{_INVISIBLE}]+|[\s\x00-\x1f\x7f-\x9f{_INVISIBLE}]+\Z")
_WHOLE = re.compile(r"([+-]?)0*([0-9]+)(?:\.0*)?")
_POINT = re.compile(r"[0-9]+(?:\.0+)?")

Column = Mapping[str | None, str | None]
"""The label for each cell of a column."""


def clean_text(text: str) -> str:
    """A text in form NFC without surrounding blanks and invisible characters."""
    return _EDGES.sub("", unicodedata.normalize("NFC", text))


def ink(text: str) -> str:
    """A text without any blanks and invisible characters."""
    return re.sub(rf"[\s{_INVISIBLE}]", "", text)


def whole_number(text: str, *, zeros: bool = False) -> str | None:
    """The one spelling of a whole number; None for any other text. ``zeros`` keeps leading zeros."""
    match = _WHOLE.fullmatch(text)
    if match is None:
        return None
    if zeros:
        return text.partition(".")[0]
    sign = "-" if match[1] == "-" and match[2] != "0" else ""
    return sign + match[2]


def clean_column(
    where: str, cells: Iterable[str | None], missing: Sequence[str] | None = None, *, zeros: bool = False
) -> Column:
    """The label for each distinct cell of a column in both splits; None for a missing value.

    Args:
        where: What errors call the column.
        cells: The cells of both splits, as written.
        missing: Spellings of a missing value; None for ``MISSING``.
        zeros: Whether 08 and 8 are two labels.

    Raises:
        DataError: A label is too long.
    """
    absent = {"", *(clean_text(spelling) for spelling in (MISSING if missing is None else missing))}
    found: dict[str | None, str | None] = {None: None}
    for cell in cells:
        if cell is None:
            continue
        text = clean_text(cell)
        if len(text) > LONGEST:
            raise DataError(
                f"{where}: a label has {len(text):,} characters ({text[:40]!r}…), and a class name has at "
                f"most {LONGEST:,}; name the column of the classes"
            )
        found[cell] = None if text in absent or whole_number(text) in absent else text
    labels = [label for label in found.values() if label is not None]
    if all(_WHOLE.fullmatch(label) for label in labels):
        found = {
            cell: None if label is None else whole_number(label, zeros=zeros) for cell, label in found.items()
        }
    return found


def only_points(column: Column, cells: Iterable[str | None]) -> bool:
    """Whether the column was read by earlier versions, too: its numbers only lost a point and zeros."""
    return all(cell is None or _POINT.fullmatch(cell) for cell in column) and all(
        cell is None or column[cell] == cell.partition(".")[0] for cell in cells
    )
