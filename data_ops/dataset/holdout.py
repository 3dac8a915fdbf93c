"""Which images are held out as the test split: by image, not by file order, and never part of a group."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.hashing import hash64

Positions = npt.NDArray[np.int64]
LEFT_OUT = "unlabelled image of a held-out group"


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

    A seeded hash of the image orders who is held out. Exact copies and groups stay on one side, whole. Test
    gets the share of the labelled images, or as near to it as their sizes allow. Those with an unlabelled
    image stay in train, unless the others are fewer than the share: then the unlabelled images of a held-out
    group are in neither split. DataError where no group can be held out.
    """
    n_labeled = int(labeled.sum())
    if n_labeled < 2:
        raise DataError(f"test_fraction needs at least two images with labels, and {n_labeled} can be read")
    distinct, image = np.unique(digests, return_inverse=True)
    heads, together = np.unique(_joined(image, groups), return_inverse=True)
    sizes = np.bincount(together, weights=labeled, minlength=len(heads)).astype(np.int64)
    whole = np.ones(len(heads), dtype=bool)
    np.logical_and.at(whole, together, labeled)
    share = held_out_size(n_labeled, fraction)
    candidates = sizes > 0
    if sizes[whole].sum() >= share and (sizes[whole] < n_labeled).any():
        candidates &= whole
    first = distinct[heads]
    order = np.lexsort((first, hash64(seed, key_of(first))))
    order = order[candidates[order]]
    held_out = np.zeros(len(heads), dtype=bool)
    held_out[order[_chosen(sizes[order], share, n_labeled - 1)]] = True
    test = held_out[together]
    if not (test & labeled).any() or not (labeled & ~test).any():
        raise DataError(
            "no test images can be held out: all with labels are in one group or copies of one image; "
            "give a test split"
        )
    return np.flatnonzero(~test), np.flatnonzero(test & labeled)


def key_of(digests: npt.NDArray[np.bytes_]) -> npt.NDArray[np.uint64]:
    """The first 8 bytes of each hex digest."""
    return np.array([int(digest[:16], 16) for digest in digests.tolist()], dtype=np.uint64)


def _chosen(sizes: Positions, share: int, most: int) -> npt.NDArray[np.bool_]:
    """Which of the units with these sizes, in the order of the draw, make up `share` as nearly as can be
    found by taking what fits, exchanging one for one, and going over by one; never more than `most`."""
    chosen = np.zeros(len(sizes), dtype=bool)
    room = share
    for i, size in enumerate(sizes.tolist()):
        if size <= room:
            chosen[i] = True
            room -= size
        if not room:
            return chosen
    while room and (step := _exchange(sizes, chosen, room)) is not None:
        enters, leaves = step
        chosen[enters], chosen[leaves] = True, False
        room -= int(sizes[enters] - sizes[leaves])
    left = np.flatnonzero(~chosen & (sizes <= most - (share - room)))
    if room and len(left):
        over = left[np.argmin(sizes[left])]
        # nothing at all is worse than too much: where every unit is larger than the share, one is taken
        chosen[over] = sizes[over] - room < room or not chosen.any()
    return chosen


def _exchange(sizes: Positions, chosen: npt.NDArray[np.bool_], room: int) -> tuple[int, int] | None:
    """The first unit outside and the first inside whose exchange fills most of the room; None: no such."""
    outside, enters = np.unique(sizes[~chosen], return_index=True)
    inside, leaves = np.unique(sizes[chosen], return_index=True)
    if not len(outside) or not len(inside):
        return None
    gain = outside[:, None] - inside[None, :]
    gain[gain > room] = 0
    i, j = np.unravel_index(int(gain.argmax()), gain.shape)
    if gain[i, j] <= 0:
        return None
    return int(np.flatnonzero(~chosen)[enters[i]]), int(np.flatnonzero(chosen)[leaves[j]])


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
