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


def folds_of(y: npt.NDArray[np.integer], groups: Ints | None, seed: int, folds: int) -> Ints | None:
    """Fold of each row. With `groups` (n,), -1 is none, rows of one group are in one fold, classes spread as
    evenly as that allows; None where there are fewer groups than folds."""
    if groups is None:
        return stratified_folds(y, seed, folds)
    alone = groups.max() + 1 + np.arange(len(groups))
    groups = np.where(groups < 0, alone, groups)
    return group_folds(y, groups, seed, folds) if len(np.unique(groups)) >= folds else None


def group_folds(y: npt.NDArray[np.integer], groups: Ints, seed: int, folds: int) -> Ints:
    """Fold of each row: rows of one group are in one fold, classes spread as evenly as that allows. Where no
    class has as many rows as there are folds there is nothing to spread: groups are dealt out evenly."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    few = np.unique(y, return_counts=True)[1].max() < folds
    rule = (GroupKFold if few else StratifiedGroupKFold)(folds, shuffle=True, random_state=seed)
    fold = np.empty(len(y), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer rows than folds is no news here
        for k, (_, held_out) in enumerate(rule.split(y, y, groups)):
            fold[held_out] = k
    return fold
