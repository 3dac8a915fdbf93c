"""The parents of a source's classes, from a table in a separate file.

JSON: an object of class → parent, or a list of such objects, each from one level to the next. If a parent is
itself a class of the object, the object is a tree and is followed up to its roots. CSV: a header with the
names of the levels, fine to coarse, and one row per class, separated by commas, semicolons or tabs.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.sources.labels import clean_text, whole_number
from ssl_sweep.data_ops.sources.listing import RawImage
from ssl_sweep.data_ops.sources.remote import local
from ssl_sweep.data_ops.sources.table import delimiter_of


@dataclasses.dataclass(frozen=True)
class Hierarchy:
    """The parents of every class at the levels above it."""

    where: str
    """The table's file."""
    levels: tuple[str, ...]
    """Names of the levels above the classes, fine to coarse."""
    parents: Mapping[str, tuple[str, ...]]
    """For each class its parent at each of ``levels``."""

    def check(self, classes: Iterable[str]) -> None:
        """Check that every class has parents.

        Raises:
            DataError: The table lacks classes; the message names them.
        """
        missing = sorted(set(classes) - set(self.parents))
        if missing:
            named = ", ".join(map(repr, missing[:10])) + (" and more" if len(missing) > 10 else "")
            raise DataError(
                f"{self.where}: no parent for {len(missing)} classes of the images: {named}; add them"
            )

    def extend(self, images: Iterable[RawImage]) -> Iterator[RawImage]:
        """The images with the parents' levels added. An image without a label keeps none at every level."""
        unknown = (None,) * len(self.levels)
        for image in images:
            fine = image.labels[0]
            if fine is not None and fine not in self.parents:
                raise DataError(f"{image.name}: {self.where} has no parent for its class {fine!r}; add it")
            above = unknown if fine is None else self.parents[fine]
            yield dataclasses.replace(image, labels=image.labels + above)


def read_hierarchy(where: str, own: tuple[str, ...]) -> Hierarchy:
    """Read the table of a JSON or CSV file.

    Args:
        where: The file's path or address.
        own: The label levels of the source; there must be exactly one.

    Raises:
        DataError: A class has two parents at a level, or none; there is a cycle; or the file is not a table.
    """
    if len(own) != 1:
        raise DataError(
            f"{where}: a hierarchy is for a source with one label level; this has {', '.join(own)}"
        )
    try:
        text = local(where).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({error.strerror}); give a JSON or CSV file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 text; save it as UTF-8") from error
    table = _from_csv(where, text) if where.lower().endswith(".csv") else _from_json(where, text)
    clash = set(table.levels) & set(own)
    if clash or len(set(table.levels)) < len(table.levels):
        raise DataError(f"{where}: two levels have one name ({', '.join((*own, *table.levels))}); rename one")
    return dataclasses.replace(table, parents={**_by_number(table.parents), **table.parents})


def _by_number(parents: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The parents by the one spelling of each whole number: the labels may have lost zeros."""
    numbers = {name: whole_number(name) for name in parents}
    return {number: parents[name] for name, number in numbers.items() if number is not None}


def _from_csv(where: str, text: str) -> Hierarchy:
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter_of(text.partition("\n")[0]), strict=True
    )
    try:
        rows = [[clean_text(cell) for cell in row] for row in reader if any(row)]
    except csv.Error as error:
        raise DataError(
            f"{where}, line {reader.line_num}: not a readable CSV file ({error}); correct it"
        ) from error
    if not rows or len(rows[0]) < 2:
        raise DataError(f"{where}: needs a header of at least two level names, fine to coarse")
    parents: dict[str, tuple[str, ...]] = {}
    for row in rows[1:]:
        if len(row) != len(rows[0]) or not all(row):
            raise DataError(f"{where}: {row[0]!r} needs a name in each of {', '.join(rows[0])}")
        above = tuple(row[1:])
        if parents.setdefault(row[0], above) != above:
            level = next(i for i in range(len(above)) if parents[row[0]][i] != above[i])
            raise _two_parents(where, row[0], parents[row[0]][level], above[level])
    for level in range(1, len(rows[0]) - 1):
        parent_of: dict[str, str] = {}
        for row in rows[1:]:
            other = parent_of.setdefault(row[level], row[level + 1])
            if other != row[level + 1]:
                raise _two_parents(where, row[level], other, row[level + 1])
    return Hierarchy(where, tuple(rows[0][1:]), parents)


def _from_json(where: str, text: str) -> Hierarchy:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in ((clean_text(key), value) for key, value in pairs):
            value = clean_text(value) if isinstance(value, str) else value
            if found.setdefault(key, value) != value:
                raise _two_parents(where, key, found[key], value)
        return found

    try:
        content = json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not valid JSON ({error}); correct that line") from error
    tables = content if isinstance(content, list) else [content]
    for table in tables or [None]:
        if not isinstance(table, dict) or not table:
            raise DataError(
                f"{where}: not a hierarchy; write an object of class to parent, or a list of such objects"
            )
        for key, value in table.items():
            if not isinstance(value, str):
                raise DataError(
                    f"{where}: the parent of {key!r} is {value!r}; give each class the name of one parent"
                )
    lineages = _tree(where, tables[0]) if len(tables) == 1 else _stages(where, tables)
    depth = len(next(iter(lineages.values())))
    return Hierarchy(where, ("parent", *(f"parent{i}" for i in range(2, depth + 1))), lineages)


def _stages(where: str, tables: list[dict[str, str]]) -> dict[str, tuple[str, ...]]:
    lineages: dict[str, tuple[str, ...]] = {name: (parent,) for name, parent in tables[0].items()}
    for level, table in enumerate(tables[1:], start=2):
        for name, above in lineages.items():
            if above[-1] not in table:
                raise DataError(f"{where}: table {level} has no parent for {above[-1]!r}; add it")
            lineages[name] = (*above, table[above[-1]])
    return lineages


def _tree(where: str, parent_of: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """The lineage of every leaf. Raises DataError for a cycle, or for leaves of different depth."""
    lineages = {name: _above(where, name, parent_of) for name in parent_of}
    inner = set(parent_of.values())
    leaves = [name for name in parent_of if name not in inner]
    one = leaves[0]  # without a cycle there are leaves
    for leaf in leaves:
        if len(lineages[leaf]) != len(lineages[one]):
            raise DataError(
                f"{where}: {one!r} has {len(lineages[one])} levels above it and {leaf!r} has "
                f"{len(lineages[leaf])}; give every class the same number of levels"
            )
    return {leaf: lineages[leaf] for leaf in leaves}


def _above(where: str, name: str, parent_of: dict[str, str]) -> tuple[str, ...]:
    above = [name]
    while above[-1] in parent_of:
        above.append(parent_of[above[-1]])
        if above[-1] in above[:-1]:
            raise DataError(
                f"{where}: {above[-1]!r} is among its own parents: {' > '.join(above)}; "
                "give the parent another name"
            )
    return tuple(above[1:])


def _two_parents(where: str, name: str, one: object, two: object) -> DataError:
    return DataError(f"{where}: {name!r} has two parents, {one!r} and {two!r}; keep one, or use two names")
