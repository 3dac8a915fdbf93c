"""Nested subsets and label budgets: prefixes of a seeded permutation of image keys.

The permutation sorts images by a hash of (seed, image key), so a draw depends neither on row order nor on
the machine, and every smaller draw lies inside every larger one of the same seed. A subset and a label
budget of equal seed are unrelated draws: otherwise the labelled images of a small budget would all be
pretraining images.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from data_ops.errors import DataError
from data_ops.hashing import derive_seed, hash64

Positions = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Draw = Literal["uniform", "stratified"]


def ranking(keys: Keys, seed: int) -> Positions:
    """(N,) positions of `keys` in the order of the seeded permutation."""
    return np.lexsort((keys, hash64(seed, keys))).astype(np.int64)


def subset(keys: Keys, n: int, seed: int) -> Positions:
    """(n,) positions of a uniform draw of n pretraining images. DataError unless 1 <= n <= len(keys)."""
    _check_size(n, len(keys), "subset")
    return ranking(keys, derive_seed("subset", seed))[:n]


def label_budget(
    keys: Keys, labels: npt.NDArray[np.integer], n: int, seed: int, draw: Draw = "uniform"
) -> Positions:
    """(n,) positions of the n images whose labels may be used. DataError unless 1 <= n <= len(keys).

    uniform: as the study draws, so that rare classes can be missed. stratified: classes in turn, one image
    each per round; a class that has run out is passed over, so the balance is capped by class size.
    """
    _check_size(n, len(keys), "label budget")
    if len(labels) != len(keys):
        raise DataError(f"{len(labels)} labels for {len(keys)} images")
    order = ranking(keys, derive_seed("label-budget", seed))
    if draw == "uniform":
        return order[:n]
    if draw != "stratified":
        raise DataError(f"unknown draw {draw!r}; use uniform or stratified")
    return order[np.argsort(_occurrence(labels[order]), kind="stable")][:n]


def equal_shares(total: int, parts: int) -> tuple[int, ...]:
    """`total` in `parts` shares that differ by at most one, the larger ones first."""
    if parts < 1 or total < parts:
        raise DataError(f"cannot share {total} images among {parts} domains: each needs at least one")
    return tuple(total // parts + (part < total % parts) for part in range(parts))


def _occurrence(values: npt.NDArray[np.integer]) -> Positions:
    """How many equal values stand before each one: [a, b, a, a] gives [0, 0, 1, 2]."""
    by_value = np.argsort(values, kind="stable")
    _, first, inverse = np.unique(values[by_value], return_index=True, return_inverse=True)
    occurrence = np.empty(len(values), dtype=np.int64)
    occurrence[by_value] = np.arange(len(values)) - first[inverse]
    return occurrence


def _check_size(n: int, available: int, what: str) -> None:
    if not 1 <= n <= available:
        raise DataError(f"a {what} of {n} images cannot be drawn from {available}; choose 1 to {available}")
