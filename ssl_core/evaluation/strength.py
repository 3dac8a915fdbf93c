"""C, the inverse regularisation strength of a linear probe, chosen inside the label budget."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ssl_sweep.ssl_core.config.probe import ProbeConfig
from ssl_sweep.ssl_core.evaluation.folds import folds_of
from ssl_sweep.ssl_core.evaluation.fusion import Floats, Ints, read
from ssl_sweep.ssl_core.evaluation.logistic import LogisticFit, linear_scores, standardised_in_single

FIXED_C = 1.0
"""C for a label budget that is too small to choose one, see ``choose_c``."""
EQUAL = 0.5
"""Values of C within this many standard errors of the best are as good as equal."""
FALLS = 2
"""After this many values of C in a row that are clearly worse than the best, larger ones are not tried."""


def choose_c(
    x: Floats,
    y: npt.NDArray[np.integer],
    *,
    seed: int,
    config: ProbeConfig,
    groups: Ints | None = None,
    device: str = "cpu",
) -> tuple[float, bool]:
    """The C of ``config.cs`` with the most correct predictions over stratified folds of x (n, d) and y (n,),
    and whether all fits for this choice converged.

    If several are as good as equal, their neighbours on the path decide, see ``best_of``. A single C is taken
    without a fit. ``FIXED_C`` is taken below 3 labels per fold, 2 labels per class on average or one group
    per fold: the folds would be too small. Rows of one of the ``groups`` (n,) (a patient, a
    scene; -1 is no group) are always in one fold.

    C is tried from the smallest upwards, and each fit starts from the one before it. After ``FALLS`` in a row
    that are more than a standard error below the best so far, the rest is skipped: accuracy rises and falls
    once along C, and the last fits take longest. The fits are in float32: they only choose.
    """
    if len(config.cs) == 1:
        return config.cs[0], True
    fold = _folds(y, seed, config, groups)
    if fold is None:
        return FIXED_C, True
    parts = [_Fold(x, y, fold == k, config, device) for k in range(config.folds)]
    hits: list[int] = []
    falls = 0
    for c in config.cs:
        hits.append(sum([part.hits(c) for part in parts]))
        falls = falls + 1 if hits[-1] < max(hits) - _standard_error(max(hits), len(y)) else 0
        if falls == FALLS:
            break
    return config.cs[best_of(hits, len(y))], all(part.converged for part in parts)


def best_of(hits: Sequence[int], n: int) -> int:
    """Position of the best C on a path, from the correct predictions of n for each; the first among equals.

    Accuracy changes slowly along C. So of those within ``EQUAL`` standard errors of the most correct
    predictions, the best is the one with the highest mean of itself, counted twice, and its neighbours.
    """
    found = np.array(hits, dtype=float)
    padded = np.pad(found, 1, mode="edge")
    smooth = padded[:-2] + 2 * found + padded[2:]
    smooth[found < found.max() - EQUAL * _standard_error(max(hits), n)] = -1
    return int(smooth.argmax())


def _folds(y: npt.NDArray[np.integer], seed: int, config: ProbeConfig, groups: Ints | None) -> Ints | None:
    """Fold of each row, or None if there is too little to divide."""
    if len(y) < max(3 * config.folds, 2 * len(np.unique(y))):
        return None
    return folds_of(y, groups, seed, config.folds)


def _standard_error(hits: int, n: int) -> float:
    """Standard error of a number of correct predictions among n."""
    return math.sqrt(hits * (1 - hits / n))


class _Fold:
    """Fits without one fold, judged on it."""

    def __init__(
        self,
        x: Floats,
        y: npt.NDArray[np.integer],
        held_out: npt.NDArray[np.bool_],
        config: ProbeConfig,
        device: str,
    ) -> None:
        self.converged = True
        self._x, self._y, self._held_out = x, y, np.flatnonzero(held_out)
        train = np.flatnonzero(~held_out)
        self._fit: LogisticFit | None = None
        self._only = y[train[0]]
        if (y[train] != self._only).any():
            matrix = standardised_in_single(x, train)
            self._fit = LogisticFit(matrix, y[train], config, warm=True, device=device)

    def hits(self, c: float) -> int:
        """How many of the held-out rows are predicted correctly."""
        y = self._y[self._held_out]
        if self._fit is None:
            return int((y == self._only).sum())
        self.converged &= self._fit.fit(c)
        weights = self._fit.weights()
        best = [linear_scores(part, weights).argmax(axis=1) for _, part in read(self._x, self._held_out)]
        return int((self._fit.classes[np.concatenate(best)] == y).sum())
