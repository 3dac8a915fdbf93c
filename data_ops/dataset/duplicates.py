"""Exact copies: images with the same decoded pixels, within a split, across splits and across datasets.

An image's id is the hash of its pixels as decoded, before they are resized. The ids of copies in one split of
a prepared dataset end in -1, -2, … Near copies (another JPEG quality, another crop) have different ids and
are not found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.str_] | npt.NDArray[np.bytes_]  # (N,)
Positions = npt.NDArray[np.int64]

_DIGITS = 32  # hex digits of an id, before the number of the copy


def pixel_hash(pixels: npt.NDArray[np.uint8]) -> str:
    """The 32 hex digits that identify an image of these pixels (H, W, 3) in prepared data."""
    height, width = pixels.shape[:2]
    digest = hashlib.blake2b(f"{height}x{width}:".encode(), digest_size=_DIGITS // 2)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def without_copy_number(ids: Ids) -> npt.NDArray[np.bytes_]:
    """(N,) ids without the -1, -2, … of copies: equal for equal pixels."""
    return np.asarray(ids).astype(f"S{_DIGITS}")


def occurrence(values: npt.NDArray[Any]) -> Positions:
    """(N,) how many equal values come before each one: [a, b, a, a] gives [0, 0, 1, 2]."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    place = np.arange(len(values))
    first = np.append(True, ordered[1:] != ordered[:-1])[: len(values)]
    found = np.empty(len(values), dtype=np.int64)
    found[order] = place - np.maximum.accumulate(np.where(first, place, 0))
    return found


def occur_in(ids: Ids, others: Ids) -> npt.NDArray[np.bool_]:
    """(N,) bool: whether each image of ``ids`` has the same pixels as an image of ``others``."""
    here, there = without_copy_number(ids), np.unique(without_copy_number(others))
    if not len(there):
        return np.zeros(len(here), dtype=bool)
    at = np.minimum(np.searchsorted(there, here), len(there) - 1)
    return np.asarray(there[at] == here)


@dataclass(frozen=True)
class Copies:
    """Every image whose pixels occur more than once in the sets searched: M rows, one for each image.

    Rows of one picture stand together, in the order of sets and positions.
    """

    group: Positions
    """(M,) the number of the picture, equal for its copies."""
    of: Positions
    """(M,) the number of the set that the image is in."""
    position: Positions
    """(M,) the image's row in that set."""

    def within(self, one: int) -> int:
        """How many images of a set repeat the pixels of an earlier one."""
        mine: npt.NDArray[Any] = self.group[self.of == one]
        return len(mine) - len(np.unique(mine))

    def across(self, one: int, other: int) -> int:
        """How many images of the set ``other`` have the same pixels as an image of the set ``one``."""
        return int(np.isin(self.group[self.of == other], self.group[self.of == one]).sum())

    def pictures(self, *sets: int) -> Iterator[tuple[tuple[int, int], ...]]:
        """For each picture, the (set, position) of its copies in ``sets``; in all sets if none are given."""
        kept = np.isin(self.of, sets) if sets else np.ones(len(self.of), dtype=bool)
        group = self.group[kept]
        pairs = np.stack([self.of[kept], self.position[kept]], axis=1)
        for picture in np.split(pairs, np.flatnonzero(np.diff(group)) + 1):
            if len(picture) > 1:
                yield tuple((int(one), int(position)) for one, position in picture)


def find_copies(sets: Sequence[Ids]) -> Copies:
    """The copies within and across sets of ids: splits, datasets, or both."""
    sizes = [len(ids) for ids in sets]
    hashes = np.concatenate([np.empty(0, f"S{_DIGITS}"), *map(without_copy_number, sets)])
    of = np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)
    position = np.concatenate([np.empty(0, np.int64), *(np.arange(n, dtype=np.int64) for n in sizes)])
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    same = np.zeros(len(ordered) + 1, dtype=bool)  # same[i]: rows i - 1 and i are copies
    same[1:-1] = ordered[1:] == ordered[:-1]
    copied = same[:-1] | same[1:]
    group = np.cumsum(~same[:-1])[copied] - 1
    rows = order[copied]
    return Copies(np.unique(group, return_inverse=True)[1].astype(np.int64), of[rows], position[rows])
