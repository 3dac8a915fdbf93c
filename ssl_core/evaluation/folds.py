"""How a label budget is divided to choose a setting inside it."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def stratified_folds(y: npt.NDArray[np.integer], seed: int, folds: int) -> Ints:
    """Fold of each row: the rows of each class, in random order, are dealt out one fold after the other,
    and the deal goes on from class to class. So folds are equal and every class is spread as evenly as it
    can be."""
    shuffled = np.random.default_rng(seed).permutation(len(y))
    order = shuffled[np.argsort(y[shuffled], kind="stable")]
    fold = np.empty(len(y), dtype=np.int64)
    fold[order] = np.arange(len(y)) % folds
    return fold


def group_folds(y: npt.NDArray[np.integer], groups: Ints, seed: int, folds: int) -> Ints:
    """Fold of each row: rows of one group are in one fold, classes spread as evenly as that allows."""
    from sklearn.model_selection import StratifiedGroupKFold

    fold = np.empty(len(y), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer rows than folds is no news here
        splits = StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(y, y, groups)
        for k, (_, held_out) in enumerate(splits):
            fold[held_out] = k
    return fold
