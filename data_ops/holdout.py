"""Which images are held out as the test split: by image, not by file order, and never part of a group."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from data_ops.errors import DataError
from data_ops.hashing import hash64

Positions = npt.NDArray[np.int64]


def held_out_size(n: int, fraction: float) -> int:
    """How many of n images `test_fraction` holds out; at least one on either side."""
    return min(max(round(n * fraction), 1), n - 1)


def hold_out(
    digests: npt.NDArray[np.bytes_],
    groups: npt.NDArray[np.int64],
    labeled: npt.NDArray[np.bool_],
    fraction: float,
    seed: int,
) -> tuple[Positions, Positions]:
    """(train, test) rows of N images with hex digests, group codes (-1: none) and whether they have a label.

    A seeded hash of the image orders who is held out. Exact copies and groups stay on one side, whole; one
    with an unlabelled image stays in train. Test gets the share of the labelled images, or what of it the
    groups' sizes allow. DataError where no group can be held out.
    """
    n_labeled = int(labeled.sum())
    if n_labeled < 2:
        raise DataError(f"test_fraction needs at least two images with labels, and {n_labeled} can be read")
    distinct, image = np.unique(digests, return_inverse=True)
    heads, together, sizes = np.unique(_joined(image, groups), return_inverse=True, return_counts=True)
    testable = np.ones(len(heads), dtype=bool)
    np.logical_and.at(testable, together, labeled)
    first = distinct[heads]
    order = np.lexsort((first, hash64(seed, key_of(first))))
    order = order[testable[order]]
    room = held_out_size(n_labeled, fraction)
    held_out = np.zeros(len(heads), dtype=bool)
    for candidate in order:
        if sizes[candidate] <= room:
            held_out[candidate] = True
            room -= sizes[candidate]
        if not room:
            break
    if not held_out.any() and len(order):  # every group is larger than the share
        held_out[min(order.tolist(), key=lambda candidate: sizes[candidate])] = True
    test = held_out[together]
    if not test.any() or not labeled[~test].any():
        raise DataError(
            "no test images can be held out: each would part a group or exact copies, or take unlabelled "
            "images along; give a test split"
        )
    return np.flatnonzero(~test), np.flatnonzero(test)


def key_of(digests: npt.NDArray[np.bytes_]) -> npt.NDArray[np.uint64]:
    """The first 8 bytes of each hex digest."""
    return np.array([int(digest[:16], 16) for digest in digests.tolist()], dtype=np.uint64)


def _joined(image: Positions, groups: npt.NDArray[np.int64]) -> Positions:
    """(N,) the smallest image code reachable through copies and groups: equal for what stays together."""
    joined = image.astype(np.int64)
    if (groups < 0).all():
        return joined
    grouped = np.flatnonzero(groups >= 0)
    while True:
        before = joined.copy()
        for members, code in ((grouped, groups[grouped]), (np.arange(len(image)), image)):
            smallest = np.full(int(code.max()) + 1, len(image), dtype=np.int64)
            np.minimum.at(smallest, code, joined[members])
            joined[members] = smallest[code]
        if np.array_equal(before, joined):
            return joined
