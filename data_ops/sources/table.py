"""CSV files: their columns by name, and tables of images with labels."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ssl_sweep.data_ops.dataset.prepared import SPLITS, Split
from ssl_sweep.data_ops.errors import DataError, nearest
from ssl_sweep.data_ops.sources.image_kinds import kind_of
from ssl_sweep.data_ops.sources.labels import clean_text
from ssl_sweep.data_ops.sources.listing import FileImage, Labels, Listing, list_files, printable
from ssl_sweep.data_ops.sources.remote import local

_DELIMITERS = ",;\t|"
_QUOTED = re.compile(r'"[^"]*"')
_TOLD = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)


def read_columns(path: Path, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """The named columns of every row, without surrounding blanks.

    The header decides whether cells are separated by commas, semicolons, tabs or bars. Bytes that are not
    UTF-8 are kept as surrogates, because file names may contain them.

    Raises:
        DataError: The file or a column is missing, a row has a different length, there are no rows, or the
            text is in an encoding that cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); give a CSV file with a header"
        ) from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or 4 * data[:200].count(0) > len(data[:200]):
        raise DataError(f"{path}: the text is UTF-16; save the table as UTF-8")
    if b"\0" in data:
        line = data[: data.index(0)].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: a NUL character, which no text has; write the table again")
    text = data.decode("utf-8-sig", "surrogateescape")
    delimiter = delimiter_of(text.partition("\n")[0])
    if told := _TOLD.match(text):  # as Excel writes and reads
        delimiter, text = told[1], text[told.end() :]
    if not text.strip():
        raise DataError(f"{path}: the table is empty; give one with a header and a row for each image")
    try:
        table = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}: not a readable CSV file ({error}); correct it") from error
    names = [clean_text(name) for name in table[0]]
    if not is_utf8(text.partition("\n")[0]):
        raise DataError(f"{path}: the header is not UTF-8, perhaps cp1252; save the table as UTF-8")
    columns = [clean_text(column) for column in columns]
    for column in columns:
        if column not in names:
            what = f"no column {column!r}{nearest(column, names)}; it has {', '.join(names)}"
            if any(kind_of(name) == "image" for name in names):
                what = f"the first line is {', '.join(names)}; it must be a header that names the columns"
            raise DataError(f"{path}: {what}")
        if names.count(column) > 1:
            raise DataError(
                f"{path}: {names.count(column)} columns are named {column!r}; rename all but one, so that it "
                "is clear which is meant"
            )
    places = [names.index(column) for column in columns]
    rows = []
    for line, row in enumerate(table[1:], start=2):
        if not any(map(str.strip, row)):
            continue
        if len(row) != len(names):
            raise DataError(
                f"{path}, row {line}: {len(row)} cells under {len(names)} column names; correct the row"
            )
        rows.append(tuple(row[place].strip() for place in places))
    if not rows:
        raise DataError(f"{path}: no rows; give a table with images")
    return rows


def delimiter_of(header: str) -> str:
    """The character that separates the names of a header: a comma, a semicolon, a tab or a bar."""
    return max(_DELIMITERS, key=_QUOTED.sub("", header).count)


def is_utf8(text: str) -> bool:
    """Whether a text was decoded without surrogates for bytes that are not UTF-8."""
    return not any("\udc80" <= char <= "\udcff" for char in text)


@dataclasses.dataclass(frozen=True, slots=True)
class LabelRow:
    """A row of a table of images."""

    name: str
    """The cell that names the image."""
    labels: Labels
    """One label per level, None for an empty cell."""
    group: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelTable:
    """Tables of images: one per split, or one for both with a column that says train or test."""

    train: str
    """The file of the training images, or of all images."""
    test: str | None
    """The file of the test images."""
    name: str
    """The column that names an image."""
    levels: tuple[str, ...]
    """Label columns, fine to coarse."""
    group: str | None
    """The column of the groups."""
    split: str | None
    """The column that says train or test."""

    def where(self, split: Split) -> str | None:
        """The table that has a split; None if there is no such table.

        Raises:
            DataError: The settings contradict each other.
        """

        if self.split is not None and self.test is not None:
            raise DataError("split and test are both given; keep one of them")
        return self.train if split == "train" or self.split is not None else self.test

    def listing(self, split: Split, file_of: Callable[[str], str]) -> Listing | None:
        """The images of a split; ``file_of`` gives the file that a name of the table stands for.

        Raises:
            DataError: A column is missing, or a split is neither train nor test.
        """
        where = self.where(split)
        if where is None:
            return None
        images = [FileImage(file_of(row.name), row.labels, row.group) for row in self.rows(split)]
        return list_files(images, local(where))

    def rows(self, split: Split) -> list[LabelRow]:
        """The rows of a split as they are written.

        Raises:
            DataError: As ``listing``.
        """
        where = self.where(split)
        if where is None:
            return []
        optional = [column for column in (self.group, self.split) if column is not None]
        found = []
        for name, *cells in read_columns(local(where), [self.name, *self.levels, *optional]):
            side = cells[-1] if self.split is not None else split
            if side not in SPLITS:
                raise DataError(f"{where}: {printable(name)} is in the split {side!r}; write train or test")
            if not name:
                labels = ", ".join(map(printable, cells))
                raise DataError(f"{where}: the row of {labels!r} has no {self.name!r}; give its image")
            if side == split:
                n = len(self.levels)
                row = tuple(printable(cell) or None for cell in cells[:n])
                found.append(LabelRow(name, row, printable(cells[n]) or None if self.group else None))
        if not found and split == "train":
            raise DataError(f"{where}: no training images; give at least one")
        return found
