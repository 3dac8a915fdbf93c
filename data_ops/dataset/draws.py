"""Which training images a pretraining or a label budget takes from a prepared dataset, and their digests."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.dataset.digests import Sums, digest, hashed, sum_of, sums_by
from ssl_sweep.data_ops.dataset.duplicates import occur_in
from ssl_sweep.data_ops.dataset.prepared import PreparedDataset, Split
from ssl_sweep.data_ops.dataset.subsets import Draw, Positions, label_budget, subset

Mask = npt.NDArray[np.bool_]

DIGESTS = "digests.json"
"""Beside the arrays of a large dataset: digests that were computed before."""
_LARGE = 100_000  # training images from which on keeping the digests is worth a file


def leaked(data: PreparedDataset, tests: Sequence[PreparedDataset]) -> Mask:
    """(n_train,) bool: which training images of ``data`` have the pixels of a test image of ``tests``."""
    keys = np.sort(data.keys("train"))
    found = np.zeros(len(keys), dtype=bool)
    # A key is the beginning of an id. Comparing keys is quick, and nearly always shows that none are shared.
    for test in [test for test in tests if _meet(keys, test.keys("test"))]:
        found |= occur_in(data.id_bytes("train"), test.id_bytes("test"))
    return found


def _meet(ordered: npt.NDArray[np.uint64], keys: npt.NDArray[np.uint64]) -> bool:
    """Whether any of ``keys`` is among the ascending ``ordered``."""
    at = np.searchsorted(ordered, keys)
    return bool((ordered[np.minimum(at, len(ordered) - 1)] == keys).any()) if len(ordered) else False


class Draws:
    """Draws from the training images of one dataset. Arrays are read, and draws made, when first needed.

    Two draws of the same images have one digest. Labels count as a partition of the images: which are
    together in a class, whatever the classes are called.
    """

    def __init__(self, data: PreparedDataset) -> None:
        self.data = data
        self._orders: dict[object, Positions] = {}
        self._leaks: dict[str, Mask] = {}
        self._new = False

    # Draws ------------------------------------------------------------------------------------------

    @cached_property
    def keys(self) -> npt.NDArray[np.uint64]:
        """(n_train,) keys of the training images."""
        return self.data.keys("train")

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """(n_train,) classes of the training images at the finest level; -1 for none."""
        return self.data.labels("train")

    @cached_property
    def first_key(self) -> int:
        """The smallest key of a training image. It orders datasets whatever their labels and names are."""
        return int(self.keys.min()) if len(self.keys) else 0

    def leaked(self, test: Draws) -> Mask:
        """(n_train,) which training images have the pixels of a test image of ``test``."""
        name = test.data.manifest.fingerprint
        if name not in self._leaks:
            self._leaks[name] = leaked(self.data, [test.data])
        return self._leaks[name]

    def subset(
        self,
        n: int,
        seed: int,
        draw: Draw = "uniform",
        imbalance: float = 1.0,
        labelled: bool = False,
        avoid: Sequence[Draws] = (),
    ) -> Positions:
        """(n,) rows of a pretraining's images, in the order of the draw; see ``subsets.subset``.

        Args:
            n: How many images.
            seed: Seeds the permutation.
            draw: As in ``subsets.subset``.
            imbalance: As in ``subsets.subset``.
            labelled: Whether only images with a label are drawn.
            avoid: Datasets whose test images are not drawn.

        Raises:
            DataError: The images cannot be drawn.
        """

        def make(n: int | None) -> Positions:
            free = np.ones(len(self.keys), dtype=bool)
            for test in avoid:
                free &= ~self.leaked(test)
            if labelled:
                free &= self.labels >= 0
            rows = np.flatnonzero(free)
            labels = self.labels[rows] if labelled or draw != "uniform" or imbalance != 1 else None
            n = len(rows) if n is None else n
            return rows[subset(self.keys[rows], n, seed, labels=labels, draw=draw, imbalance=imbalance)]

        names = tuple(test.data.manifest.fingerprint for test in avoid)
        return self._prefix(("subset", seed, draw, imbalance, labelled, names), n, imbalance, make)

    def budget(
        self,
        n: int,
        seed: int,
        draw: Draw = "uniform",
        imbalance: float = 1.0,
        without_copies: bool = False,
    ) -> Positions:
        """(n,) rows of a label budget, in the order of the draw; see ``subsets.label_budget``.

        With ``without_copies``, training images that are copies of test images are not drawn.

        Raises:
            DataError: The images cannot be drawn.
        """

        def make(n: int | None) -> Positions:
            labels = np.where(self.leaked(self), -1, self.labels) if without_copies else self.labels
            n = int((labels >= 0).sum()) if n is None else n
            return label_budget(self.keys, labels, n, seed, draw=draw, imbalance=imbalance)

        return self._prefix(("budget", seed, draw, imbalance, without_copies), n, imbalance, make)

    def untested(self, level: str, rows: Positions) -> dict[str, int]:
        """Class → key of one of its images, for the classes of a label budget that have no test image.

        Predictions have class numbers. If classes are renamed later, the labels of the test images and of
        these images tell which class has which number by then.

        Args:
            level: Name of the level that is learnt; "" is the finest.
            rows: (n,) the rows of the budget.
        """
        labels = self.data.labels("train", level or None)[rows]
        classes, first = np.unique(labels, return_index=True)
        alone = ~np.isin(classes, self.data.labels("test", level or None))
        keys = self.keys[rows[first[alone]]]
        return {str(c): int(key) for c, key in zip(classes[alone], keys, strict=True)}

    def _prefix(
        self, key: object, n: int, imbalance: float, make: Callable[[int | None], Positions]
    ) -> Positions:
        """The first n rows of a permutation that is made once. A long tail is made for each n."""
        if imbalance != 1:
            return make(n)
        if key not in self._orders:
            if len(self._orders) >= 32:  # permutations: 8 bytes for each image
                self._orders.clear()
            self._orders[key] = make(None)
        order = self._orders[key]
        return order[:n] if 1 <= n <= len(order) else make(n)

    # Digests ----------------------------------------------------------------------------------------

    @cached_property
    def _hashed(self) -> Sums:
        return hashed(self.keys)

    @cached_property
    def _tested(self) -> Sums:
        """(classes, 3) the test images of each class of the finest level."""
        labels = self.data.labels("test")
        return sums_by(labels, hashed(self.data.keys("test")), self.data.manifest.n_classes())

    def split(self, split: Split) -> str:
        """Digest of all images of a split."""
        return str(self._kept(split, lambda: digest(sum_of(hashed(self.data.keys(split))))))

    def images(self, n: int, *draw: Any) -> Sums:
        """(3,) the set of a pretraining's images; see ``digests``. The arguments are those of ``subset``."""

        def make() -> list[int]:
            everything = n == len(self.keys)
            rows = slice(None) if everything else self.subset(n, *draw)
            return [int(part) for part in sum_of(self._hashed[:, rows])]

        key = [n, *draw[:-1], [test.data.manifest.fingerprint for test in draw[-1]]] if draw else [n]
        return np.array(self._kept(json.dumps(key), make), dtype=np.uint64)

    def classes(self, n: int, *draw: Any) -> Sums:
        """(classes, 3) the set of a pretraining's images of each class, for those that have a label. The
        arguments are those of ``subset``."""
        rows = self.subset(n, *draw)
        rows = rows[self.labels[rows] >= 0]
        sums = sums_by(self.labels[rows], self._hashed[:, rows], self.data.manifest.n_classes())
        return sums[sums[:, -1] > 0]

    def judged(
        self, level: str, n: int, seed: int, draw: Draw, imbalance: float, without_copies: bool
    ) -> str:
        """Digest of a label budget and of the test images, by class, at ``level`` and every coarser level.

        It covers which images are together in a class or a group, and the number of classes.

        Args:
            level: Name of the level that is learnt; "" is the finest.
            n: How many images; this and the other arguments are those of ``budget``.
        """

        def make() -> str:
            manifest = self.data.manifest
            rows = self.budget(n, seed, draw, imbalance, without_copies)
            learnt = sums_by(self.labels[rows], self._hashed[:, rows], manifest.n_classes())
            finest = np.concatenate([learnt, self._tested], axis=1)
            first = manifest.levels.index(level) if level else 0
            parts = [finest] if first == 0 else []
            for parents in manifest.parents[max(0, first - 1) :]:
                above = np.zeros((max(parents, default=-1) + 1, finest.shape[1]), dtype=np.uint64)
                np.add.at(above, np.asarray(parents, dtype=np.int64), finest)
                parts.append(above)
            groups = self.data.groups("train")
            if groups is not None:
                grouped = rows[groups[rows] >= 0]
                _, codes = np.unique(groups[grouped], return_inverse=True)
                parts.append(sums_by(codes, self._hashed[:, grouped], int(codes.max(initial=-1)) + 1))
            return digest(*parts)

        key = json.dumps(["judged", level, n, seed, draw, imbalance, without_copies])
        return str(self._kept(key, make))

    def _kept(self, key: str, make: Callable[[], Any]) -> Any:
        if key not in self._known:
            self._known[key] = make()
            self._new = True
        return self._known[key]

    @cached_property
    def _known(self) -> dict[str, Any]:
        """The digests computed so far, with those that an earlier planning kept."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads((self.data.directory / DIGESTS).read_bytes())
            if kept["fingerprint"] == self.data.manifest.fingerprint:
                return dict(kept["digests"])
        return {}

    def keep(self) -> None:
        """Write new digests beside a large dataset's arrays, if its folder can be written."""
        if not self._new or len(self.keys) < _LARGE:
            return
        path = self.data.directory / DIGESTS
        partial = path.with_name(f".{DIGESTS}.{os.getpid()}.tmp")
        kept = {"fingerprint": self.data.manifest.fingerprint, "digests": self._known}
        with contextlib.suppress(OSError):
            partial.write_text(json.dumps(kept))
            partial.replace(path)
        self._new = False
