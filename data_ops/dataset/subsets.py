"""Nested subsets and label budgets: prefixes of a seeded permutation of image keys.

The permutation sorts images by a hash of (seed, image key). So a draw depends neither on row order nor on the
machine, and every smaller draw is part of every larger draw with the same seed. A subset and a label budget
with equal seeds are unrelated draws: otherwise all labelled images of a small budget would be pretraining
images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.dataset.duplicates import occurrence
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.hashing import derive_seed, hash64

Positions = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Labels = npt.NDArray[np.integer]
Draw = Literal["uniform", "stratified"]


def ranking(keys: Keys, seed: int) -> Positions:
    """(N,) positions of ``keys`` in the order of the seeded permutation."""
    # With one seed, different keys have different hashes.
    return np.argsort(hash64(seed, keys), kind="stable")


def subset(
    keys: Keys,
    n: int,
    seed: int,
    *,
    labels: Labels | None = None,
    draw: Draw = "uniform",
    imbalance: float = 1.0,
) -> Positions:
    """Draw n pretraining images.

    Args:
        keys: (N,) the images' keys.
        n: How many to draw, 1 to N.
        seed: Seeds the permutation.
        labels: (N,) class indices; only a draw that is uniform and without imbalance works without them.
        draw: As in ``label_budget``.
        imbalance: As in ``label_budget``.

    Returns:
        (n,) positions in ``keys``.

    Raises:
        DataError: n is out of range, labels are missing, or a class has too few images for the imbalance.
    """
    _check_size(n, len(keys), "subset")
    order = ranking(keys, derive_seed("subset", seed))
    if draw == "uniform" and imbalance == 1:
        return order[:n]
    if labels is None or (labels < 0).any():
        raise DataError(
            f"a {draw} subset with imbalance {imbalance:g} needs a label for every image; "
            "label the rest, or use draw uniform with imbalance 1"
        )
    return _by_class(order, labels, n, seed, draw, imbalance)


def label_budget(
    keys: Keys, labels: Labels, n: int, seed: int, draw: Draw = "uniform", imbalance: float = 1.0
) -> Positions:
    """Draw the n images whose labels may be used. Every smaller draw is part of every larger one.

    Args:
        keys: (N,) the images' keys.
        labels: (N,) class indices; images without a label (below 0) are not drawn.
        n: How many to draw, 1 to the number of labelled images.
        seed: Seeds the permutation, and decides which class is how rare.
        draw: "uniform" draws as the study does, so rare classes can be missed. "stratified" takes one image
            of each class in turn and skips classes that have run out, so class sizes limit the balance.
        imbalance: 1 or more. Above 1, class sizes fall exponentially, down to a class that is this many times
            smaller than the largest one, as in long-tailed sets of the literature.

    Returns:
        (n,) positions in ``keys``.

    Raises:
        DataError: n is out of range, or a class has too few images for the imbalance.
    """
    if len(labels) != len(keys):
        raise DataError(f"{len(labels)} labels for {len(keys)} images")
    labelled = np.flatnonzero(labels >= 0)
    _check_size(n, len(labelled), "label budget")
    order = labelled[ranking(keys[labelled], derive_seed("label-budget", seed))]
    if draw == "uniform" and imbalance == 1:
        return order[:n]
    return _by_class(order, labels, n, seed, draw, imbalance)


def largest_tail(counts: Sequence[int], imbalance: float, seed: int) -> int:
    """The size of the largest draw with this imbalance from classes of ``counts`` images."""
    sizes = np.asarray(counts, dtype=np.int64)
    weights = _tail_weights(np.flatnonzero(sizes), imbalance, seed)
    sizes = sizes[sizes > 0]
    last = ((sizes + 0.5) / weights).min()  # when the first class would have run out
    # The division and the product need not cancel: the class that runs out would get one image too many.
    return int(np.ceil(last * weights - 0.5 - 1e-9).sum()) if len(sizes) else 0


def smallest_tail(classes: int, imbalance: float) -> int:
    """The size of the smallest draw with this imbalance that has images of two of the ``classes``."""
    if classes < 2:
        return 1
    second = imbalance ** (-1 / (classes - 1))  # weight of the second largest class; the largest has 1
    return math.floor(0.5 / second + 0.5) + 1  # the first n for which n - 0.5 is above 0.5 / second


def _by_class(order: Positions, labels: Labels, n: int, seed: int, draw: Draw, imbalance: float) -> Positions:
    """The first n of ``order``, rearranged so that each class comes at the rate of its weight."""
    if draw not in ("uniform", "stratified"):
        raise DataError(f"unknown draw {draw!r}; use uniform or stratified")
    if not imbalance >= 1:
        raise DataError(f"imbalance is {imbalance:g}; use 1 or more (the largest class over the smallest)")
    classes, index = np.unique(labels[order].astype(np.int64), return_inverse=True)
    rank = occurrence(index)
    if imbalance == 1:
        return order[np.argsort(rank, kind="stable")][:n]
    counts = np.bincount(labels[order], minlength=int(classes[-1]) + 1)
    most = largest_tail([int(count) for count in counts], imbalance, seed)
    if n > most:
        raise DataError(
            f"{n} images with imbalance {imbalance:g} take more of a class than there are; "
            f"use {most} images or fewer"
        )
    weights = _tail_weights(classes, imbalance, seed)
    return order[np.argsort((rank + 0.5) / weights[index], kind="stable")][:n]


def _tail_weights(classes: Positions, imbalance: float, seed: int) -> npt.NDArray[np.float64]:
    """Relative sizes of the classes: from 1 to 1 / imbalance, in equal steps of the exponent."""
    place = np.empty(len(classes))
    place[np.argsort(hash64(derive_seed("long-tail", seed), classes), kind="stable")] = np.arange(
        len(classes)
    )
    return imbalance ** (-place / max(1, len(classes) - 1))


def given_shares(total: int, weights: Sequence[float]) -> tuple[int, ...]:
    """``total`` in shares proportional to ``weights``, rounded by largest remainders so that they add up."""
    exact = np.asarray(weights, dtype=np.float64) / sum(weights) * total
    shares = np.floor(exact + 1e-9).astype(np.int64)
    order = np.argsort(-(exact - shares), kind="stable")
    shares[order[: total - shares.sum()]] += 1
    return tuple(int(share) for share in shares)


def equal_shares(total: int, parts: int) -> tuple[int, ...]:
    """``total`` in ``parts`` shares that differ by at most one, larger shares first."""
    if parts < 1 or total < parts:
        raise DataError(f"cannot share {total} images among {parts} domains: each needs at least one")
    return tuple(total // parts + (part < total % parts) for part in range(parts))


def _check_size(n: int, available: int, what: str) -> None:
    if not 1 <= n <= available:
        raise DataError(f"a {what} of {n} images cannot be drawn from {available}; choose 1 to {available}")
