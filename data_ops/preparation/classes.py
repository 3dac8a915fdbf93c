"""Class names to indices, and the hierarchy they form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.errors import DataError

Names = tuple[tuple[str, ...], ...]  # the classes of each level, fine to coarse
Rows = Sequence[tuple[str | None, ...]]  # the labels of each image; None at every level if it has no label
LabelTable = npt.NDArray[np.int64]  # (N, levels) class indices; -1 if the image has no label
UNLABELED = -1


def class_names(rows: Rows, n_levels: int) -> Names:
    """The class names of each level in index order: numbers sorted by value, everything else as text."""
    columns: list[set[str | None]] = [set(column) for column in zip(*rows, strict=True)]
    found = [_ordered({name for name in column if name is not None}) for column in columns]
    return tuple(found) if found else ((),) * n_levels


def encode(rows: Rows, names: Names) -> LabelTable:
    """(N, levels) class indices of label rows."""
    codes = [{None: UNLABELED, **{name: code for code, name in enumerate(level)}} for level in names]
    table = [[code[name] for code, name in zip(codes, row, strict=True)] for row in rows]
    return np.array(table, dtype=np.int64).reshape(len(rows), len(names))


def parents(table: LabelTable, levels: tuple[str, ...], names: Names) -> tuple[tuple[int, ...], ...]:
    """For each coarser level, the parent of each fine class.

    Raises:
        DataError: A class has two parents at a level above. Two classes with one name would count as one
            class.
    """
    found = []
    labeled = table[table[:, 0] != UNLABELED]
    for level in range(1, len(levels)):
        pairs = np.unique(labeled[:, [0, level]], axis=0)
        twice = np.flatnonzero(pairs[1:, 0] == pairs[:-1, 0])
        if len(twice):
            (fine, one), (_, two) = pairs[twice[0]], pairs[twice[0] + 1]
            raise DataError(
                f"{levels[0]} {names[0][fine]!r} has two parents in {levels[level]!r}, {names[level][one]!r} "
                f"and {names[level][two]!r}; correct the labels, or list the levels from fine to coarse"
            )
        found.append(tuple(int(parent) for parent in pairs[:, 1]))
        _check_nesting(found, levels, names)
    return tuple(found)


def _check_nesting(found: list[tuple[int, ...]], levels: tuple[str, ...], names: Names) -> None:
    """Raise DataError if a class of the second to last level of ``found`` has two parents at the last."""
    if len(found) < 2:
        return
    above: dict[int, int] = {}
    level = len(found)
    for one, parent in zip(found[-2], found[-1], strict=True):
        other = above.setdefault(one, parent)
        if other != parent:
            raise DataError(
                f"{levels[level - 1]} {names[level - 1][one]!r} has two parents in {levels[level]!r}, "
                f"{names[level][other]!r} and {names[level][parent]!r}: classes with one name count as one. "
                "Make the names distinct, as in 'name (parent)', or list the levels from fine to coarse"
            )


def class_counts(table: LabelTable, names: Names) -> tuple[tuple[int, ...], ...]:
    """Images per class at each level."""
    labeled = table[table[:, 0] != UNLABELED]
    return tuple(
        tuple(np.bincount(labeled[:, level], minlength=len(classes)).tolist())
        for level, classes in enumerate(names)
    )


def _ordered(names: set[str]) -> tuple[str, ...]:
    numeric = all(name.removeprefix("-").isdecimal() for name in names)  # the cleaning bounds their length
    return tuple(sorted(names, key=lambda name: (int(name), name) if numeric else (0, name)))
