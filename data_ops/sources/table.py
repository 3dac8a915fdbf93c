"""CSV files: their columns by name, and tables of images with labels."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from ssl_sweep.data_ops.dataset.prepared import SPLITS, Split
from ssl_sweep.data_ops.errors import DataError, nearest
from ssl_sweep.data_ops.sources.listing import FileImage, Labels, Listing, list_files, printable
from ssl_sweep.data_ops.sources.remote import local

_DELIMITERS = ",;\t"


def read_columns(path: Path, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """The named columns of every row, without surrounding blanks.

    The header decides whether cells are separated by commas, semicolons or tabs. Bytes that are not UTF-8 are
    kept as surrogates, because file names may contain them.

    Raises:
        DataError: The file or a column is missing, a row has a different length, or there are no rows.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            header = file.readline()
            file.seek(0)
            table = list(csv.reader(file, delimiter=delimiter_of(header), strict=True))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); give a CSV file with a header"
        ) from error
    except csv.Error as error:
        raise DataError(f"{path}: not a readable CSV file ({error}); correct it") from error
    names = [name.strip() for name in table[0]] if table else []
    for column in columns:
        if column not in names:
            raise DataError(
                f"{path}: no column {column!r}{nearest(column, names)}; it has {', '.join(names)}"
            )
        if names.count(column) > 1:
            raise DataError(
                f"{path}: {names.count(column)} columns are named {column!r}; rename all but one, so that it "
                "is clear which is meant"
            )
    places = [names.index(column) for column in columns]
    rows = []
    for line, row in enumerate(table[1:], start=2):
        if not any(row):
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
    """The character that separates the names of a header: a comma, a semicolon or a tab."""
    return max(_DELIMITERS, key=header.count)


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
            if side == split:
                n = len(self.levels)
                labels = tuple(printable(cell) or None for cell in cells[:n])
                found.append(LabelRow(name, labels, printable(cells[n]) or None if self.group else None))
        if not found and split == "train":
            raise DataError(f"{where}: no training images; give at least one")
        return found
