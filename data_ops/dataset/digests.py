"""Digests of sets of images: equal for the same images, whatever their order, files and names.

A set is the sum of two hashes of each image's key, modulo 2**64. Sums of disjoint parts add up, so the digest
of a pool comes from those of its members. A copy counts as often as it occurs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.hashing import derive_seed, hash64

Sums = npt.NDArray[np.uint64]
_SEEDS = tuple(derive_seed("digest of images", lane) for lane in range(2))


def hashed(keys: npt.NDArray[np.uint64]) -> Sums:
    """(3, N) two hashes and a 1 for each of N keys."""
    return np.stack([*(hash64(seed, keys) for seed in _SEEDS), np.ones(len(keys), np.uint64)])


def sum_of(hashes: Sums) -> Sums:
    """(3,) the set of the images with these ``hashes`` (3, N); its last number is N."""
    return hashes.sum(axis=1, dtype=np.uint64)


def sums_by(codes: npt.NDArray[np.integer], hashes: Sums, n: int) -> Sums:
    """(n, 3) the set of the images of each code 0 to n - 1.

    Args:
        codes: (N,) the code of each image.
        hashes: (3, N) as from ``hashed``.
        n: Number of codes.
    """
    sums = np.zeros((3, n), dtype=np.uint64)
    for lane, values in zip(sums, hashes, strict=True):
        np.add.at(lane, codes, values)
    return sums.T


def digest(*parts: Sums) -> str:
    """32 hex digits of one set of images, or of several partitions.

    The rows of a part (n, 3), the classes of a partition, may be in any order: only which images are together
    counts, not the number or the name of their class.
    """
    result = hashlib.sha256()
    for part in parts:
        rows = np.atleast_2d(part)
        ordered = rows[np.lexsort(rows.T[::-1])]
        result.update(f"{ordered.shape}:".encode())
        result.update(np.ascontiguousarray(ordered, dtype="<u8").data)
    return result.hexdigest()[:32]


def united(sums: Iterable[Sums]) -> Sums:
    """(3,) the set of all images of several sets."""
    return np.sum(list(sums), axis=0, dtype=np.uint64)
