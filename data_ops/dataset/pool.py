"""The images of one pretraining: rows of several prepared datasets as one array, corrupted on reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.dataset.corruptions import Corruption, corrupt
from ssl_sweep.data_ops.dataset.draws import Draws
from ssl_sweep.data_ops.dataset.duplicates import occurrence
from ssl_sweep.data_ops.dataset.prepared import PreparedDataset
from ssl_sweep.data_ops.dataset.subsets import Draw
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.hashing import derive_seed, hash64

Images = npt.NDArray[np.uint8]
Keys = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]

RESIDENT_SIDE = 64
"""Images up to this side in pixels stay in memory; larger ones are read from the prepared copy by batch."""
_BLOCK = 256  # images read and corrupted together, so that a pool in memory is never there twice


@dataclass(frozen=True, kw_only=True)
class Share:
    """Training images of one dataset, drawn by ``dataset.subsets.subset``."""

    data: PreparedDataset
    images: int
    """How many images to draw."""
    seed: int
    draw: Draw = "uniform"
    imbalance: float = 1.0
    avoid: Sequence[PreparedDataset] = ()
    """Datasets whose test images are not drawn."""
    labelled: bool = False
    """Draw only images that have a label."""

    def positions(self) -> Positions:
        """(images,) rows of the training split, ascending."""
        avoid = [Draws(test) for test in self.avoid]
        draws = Draws(self.data)
        return np.sort(draws.subset(self.images, self.seed, self.draw, self.imbalance, self.labelled, avoid))


def _distinct(keys: Keys) -> Keys:
    """(N,) the keys, with new ones for all but the first of equal keys.

    An image that is in two datasets has the same key in both. With one key its copies would get the same
    views, and a contrastive training would have to tell an image from itself. Within a dataset, ``prepare``
    has already given every copy its own key.
    """
    copy = occurrence(keys)
    # not the seed of `prepare`, which would give the key that the second copy in a dataset already has
    return np.where(copy == 0, keys, hash64(derive_seed("copy in a pool"), keys, copy))


class CorruptedImages:
    """The images (N, S, S, 3) of an array, corrupted as they are read: the same at every read."""

    dtype = np.dtype(np.uint8)

    def __init__(self, images: Images, keys: Keys, corruption: Corruption, seed: int) -> None:
        self.shape, self.keys = images.shape, keys
        self._images, self._corruption, self._seed = images, corruption, seed

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: slice | Positions) -> Images:
        if self._corruption.name == "none":
            return self._images[index]
        return corrupt(self._images[index], self.keys[index], self._corruption, self._seed)


class ImagePool:
    """The images of several shares as one array: (N, S, S, 3) uint8, read with a slice or an integer array.

    Images are in the order of their keys, so a training does not depend on the order in which the grid lists
    the datasets. Every image has its own key, even a copy in a second dataset. Small images are kept in
    memory.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, shares: Sequence[Share], corruption: Corruption, seed: int) -> None:
        """Draw the shares.

        Raises:
            DataError: A share cannot be drawn, or the datasets differ in image size.
        """
        sizes = {share.data.manifest.size for share in shares}
        if len(sizes) != 1:
            raise DataError(
                f"a pool needs images of one size, but these are {sorted(sizes)} pixels wide; "
                "prepare them at one size"
            )
        self._data = [share.data for share in shares]
        self._arrays = [data.images("train") for data in self._data]
        rows = [share.positions() for share in shares]
        keys = np.concatenate([s.data.keys("train")[r] for s, r in zip(shares, rows, strict=True)])
        keys = _distinct(keys)
        order = np.argsort(keys, kind="stable")
        self.keys: Keys = keys[order]
        self._member = np.repeat(np.arange(len(shares)), [len(r) for r in rows])[order]
        self._row = np.concatenate(rows)[order]
        self.corruption, self._seed = corruption, seed
        side = sizes.pop()
        self.shape: tuple[int, int, int, int] = (len(keys), side, side, 3)
        self._resident: Images | None = None
        if side <= RESIDENT_SIDE:
            self._resident = np.empty(self.shape, dtype=np.uint8)
            for start in range(0, len(keys), _BLOCK):
                index = np.arange(start, min(start + _BLOCK, len(keys)))
                self._resident[index] = self._read(index)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: slice | Positions) -> Images:
        if self._resident is not None:
            return self._resident[index]
        return self._read(np.arange(len(self))[index] if isinstance(index, slice) else index)

    def ids(self) -> npt.NDArray[np.bytes_]:
        """(N,) ids of the images, in this order: the record of what a training was made of."""
        result = np.empty(len(self), dtype="S40")
        for number, data in enumerate(self._data):
            mine = self._member == number
            result[mine] = data.id_bytes("train")[self._row[mine]]
        return result

    def labels(self) -> tuple[npt.NDArray[np.int64], int]:
        """(N,) classes at the finest level, and their number. Classes of different datasets are distinct, and
        only those of these images count."""
        result, before = np.empty(len(self), dtype=np.int64), 0
        for number, data in enumerate(self._data):
            mine = self._member == number
            result[mine] = data.labels("train")[self._row[mine]] + before
            before += data.manifest.n_classes()
        classes, codes = np.unique(result, return_inverse=True)
        return codes.astype(np.int64), len(classes)

    def clean(self, index: Positions) -> Images:
        """The images at ``index`` without their corruption."""
        result = np.empty((len(index), *self.shape[1:]), dtype=np.uint8)
        for number, array in enumerate(self._arrays):
            mine = self._member[index] == number
            result[mine] = array[self._row[index][mine]]
        return result

    def _read(self, index: Positions) -> Images:
        images = self.clean(index)
        if self.corruption.name == "none":
            return images
        return corrupt(images, self.keys[index], self.corruption, self._seed)
