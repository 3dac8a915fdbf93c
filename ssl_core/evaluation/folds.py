"""How a label budget is divided into folds to choose a setting inside it."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def stratified_folds(y: npt.NDArray[np.integer], seed: int, folds: int) -> Ints:
    """Fold (n,) of each row, drawn with ``seed``.

    The rows of each class, in random order, are dealt out to one fold after the other, and the next class
    continues with the next fold. So folds are equal, and every class is spread as evenly as possible.
    """
    shuffled = np.random.default_rng(seed).permutation(len(y))
    order = shuffled[np.argsort(y[shuffled], kind="stable")]
    fold = np.empty(len(y), dtype=np.int64)
    fold[order] = np.arange(len(y)) % folds
    return fold


def folds_of(y: npt.NDArray[np.integer], groups: Ints | None, seed: int, folds: int) -> Ints | None:
    """Fold (n,) of each row, or None if there are fewer groups than folds.

    Rows of one of the ``groups`` (n,) are in one fold, and classes are spread as evenly as that allows. A
    group of -1 means that the row has no group.
    """
    if groups is None:
        return stratified_folds(y, seed, folds)
    alone = groups.max() + 1 + np.arange(len(groups))
    groups = np.where(groups < 0, alone, groups)
    return group_folds(y, groups, seed, folds) if len(np.unique(groups)) >= folds else None


def group_folds(y: npt.NDArray[np.integer], groups: Ints, seed: int, folds: int) -> Ints:
    """Fold (n,) of each row: rows of one group are in one fold, classes spread as evenly as that allows.

    If no class has as many rows as there are folds, classes cannot be spread: groups are dealt out evenly.
    """
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    few = np.unique(y, return_counts=True)[1].max() < folds
    rule = (GroupKFold if few else StratifiedGroupKFold)(folds, shuffle=True, random_state=seed)
    fold = np.empty(len(y), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer rows than folds is expected here
        for k, (_, held_out) in enumerate(rule.split(y, y, groups)):
            fold[held_out] = k
    return fold
