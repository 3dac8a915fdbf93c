"""Which images are held out as the test split: by image, not by file order, and only whole groups."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.hashing import hash64

Positions = npt.NDArray[np.int64]
LEFT_OUT = "unlabelled image of a held-out group"
"""The reason that is given for images in neither split."""


def held_out_size(n: int, fraction: float) -> int:
    """How many of n images ``test_fraction`` holds out; at least one stays on either side."""
    return min(max(round(n * fraction), 1), n - 1)


def hold_out(
    digests: npt.NDArray[np.bytes_],
    groups: npt.NDArray[np.int64],
    labeled: npt.NDArray[np.bool_],
    fraction: float,
    seed: int,
) -> tuple[Positions, Positions]:
    """Divide N images into rows for training and rows for testing.

    A seeded hash of the image decides which ones are held out. Exact copies and groups stay together on one
    side. The test split gets the share ``fraction`` of the labelled images, or as near to it as the sizes of
    the groups allow. Groups with an unlabelled image stay in train, unless the other groups are smaller than
    the share: then the unlabelled images of a held-out group are in neither split.

    Args:
        digests: (N,) hex digests of the images' pixels.
        groups: (N,) group codes, -1 for images without a group.
        labeled: (N,) whether the image has a label.
        fraction: The share to hold out, between 0 and 1.
        seed: Seeds the order in which images are held out.

    Returns:
        The (train, test) rows, ascending.

    Raises:
        DataError: No group can be held out.
    """
    n_labeled = int(labeled.sum())
    if n_labeled < 2:
        raise DataError(f"test_fraction needs at least two images with labels; only {n_labeled} can be read")
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
            "no test images can be held out: all labelled images are in one group or copies of one image; "
            "give a test split"
        )
    return np.flatnonzero(~test), np.flatnonzero(test & labeled)


def key_of(digests: npt.NDArray[np.bytes_]) -> npt.NDArray[np.uint64]:
    """The first 8 bytes of each hex digest."""
    return np.array([int(digest[:16], 16) for digest in digests.tolist()], dtype=np.uint64)


def _chosen(sizes: Positions, share: int, most: int) -> npt.NDArray[np.bool_]:
    """Which units, given by their sizes in the order of the draw, make up ``share`` as closely as possible.

    Takes what fits, then exchanges units one for one, then adds one unit too many if that comes closer. The
    sum is never above ``most``.
    """
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
        # an empty split is worse than a large one: if every unit is larger than the share, take one
        chosen[over] = sizes[over] - room < room or not chosen.any()
    return chosen


def _exchange(sizes: Positions, chosen: npt.NDArray[np.bool_], room: int) -> tuple[int, int] | None:
    """The units outside and inside whose exchange fills most of the room; None if no exchange helps."""
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
    """(N,) the smallest image code that copies and groups lead to: equal for images that stay together."""
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
