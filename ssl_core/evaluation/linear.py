"""Linear evaluation: multinomial logistic regression on frozen features, its strength chosen inside the
label budget.

The protocol is SimCLR's transfer protocol (appendix B.8) with fewer strengths: L-BFGS, L2. Test labels do
not come in here at all.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ssl_core.config import ProbeConfig
from ssl_core.evaluation.folds import group_folds, stratified_folds
from ssl_core.evaluation.metrics import TOP, rank_classes

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]

FIXED_C = 1.0
"""The strength where the budget is too small to choose one: see `choose_c`."""
_ROWS = 8192  # of the test features looked at together, so that a memory map stays one


@dataclass(frozen=True, kw_only=True)
class ProbeFit:
    """`top5` (n_test, 5): class ids, best first, -1 beyond the classes the budget had. `C` as chosen;
    `n_iter` of the final fit; `converged` says that it and every fit C was chosen by did;
    `missing_classes` had no label."""

    top5: Ints
    C: float
    converged: bool
    n_iter: int
    missing_classes: tuple[int, ...]
    seconds: float


def fit_linear_probe(
    x_train: Floats,
    y_train: npt.NDArray[np.integer],
    x_test: Floats,
    *,
    n_classes: int,
    seed: int,
    config: ProbeConfig,
    groups: Ints | None = None,
) -> ProbeFit:
    """Fit on the whole budget, x_train (n, d) and y_train (n,), and rank the classes of x_test (n_test,
    d).

    Features are standardised by the budget's own mean and deviation (inside each fold by the fold's), in
    float64. C is chosen by `choose_c`; `seed` draws its folds, which keep each of the `groups` (n,) whole.
    The final fit starts from zero, so it is a plain scikit-learn pipeline's. Classes of `n_classes` without
    a label are never predicted; with one class only, all test images are of it. ValueError for features that
    are not finite, labels out of range, or shapes that do not fit.
    """
    started = time.perf_counter()
    y = np.asarray(y_train)
    _check(x_train, y, x_test, n_classes)
    x = np.asarray(x_train, dtype=np.float64)
    present = np.unique(y)
    missing = tuple(int(c) for c in np.setdiff1d(np.arange(n_classes), present))
    if len(present) == 1:
        top5 = np.full((len(x_test), TOP), -1, dtype=np.int64)
        top5[:, 0] = present[0]
        seconds = time.perf_counter() - started
        return ProbeFit(
            top5=top5, C=FIXED_C, converged=True, n_iter=0, missing_classes=missing, seconds=seconds
        )
    c, chosen_well = choose_c(x, y, seed=seed, config=config, groups=groups)
    path = _Path(x, y, config)
    converged = path.fit(c)
    return ProbeFit(
        top5=np.concatenate([rank_classes(path.scores(rows), present) for rows in _chunks(x_test)]),
        C=c,
        converged=converged and chosen_well,
        n_iter=path.n_iter,
        missing_classes=missing,
        seconds=time.perf_counter() - started,
    )


def choose_c(
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.integer],
    *,
    seed: int,
    config: ProbeConfig,
    groups: Ints | None = None,
) -> tuple[float, bool]:
    """The C of `config.cs` with the most correct predictions over stratified folds, the smallest one among
    equals, and whether all fits it was chosen by converged.

    FIXED_C below 3 labels a fold, 2 labels a class on average or one group a fold: folds would be too
    small to choose by. Rows of one group (a patient, a scene; -1 is none) are always in one fold.
    Each fit starts from the one of the C before.
    """
    if len(y) < max(3 * config.folds, 2 * len(np.unique(y))):
        return FIXED_C, True
    if groups is None:
        fold = stratified_folds(y, seed, config.folds)
    else:
        rows = np.arange(len(groups))
        groups = np.where(groups < 0, groups.max() + 1 + rows, groups)  # without a group: one of its own
        if len(np.unique(groups)) < config.folds:
            return FIXED_C, True
        fold = group_folds(y, groups, seed, config.folds)
    paths = [_Path(x[fold != k], y[fold != k], config) for k in range(config.folds)]
    held_out = [(x[fold == k], y[fold == k]) for k in range(config.folds)]
    best_c, best_hits, converged = config.cs[0], -1, True
    for c in config.cs:
        hits = 0
        for path, (x_held, y_held) in zip(paths, held_out, strict=True):
            converged &= path.fit(c)
            hits += int((path.classes[path.scores(x_held).argmax(axis=1)] == y_held).sum())
        if hits > best_hits:
            best_c, best_hits = c, hits
    return best_c, converged


class _Path:
    """Fits on one set of rows, each warm-started from the one before."""

    def __init__(self, x: npt.NDArray[np.float64], y: npt.NDArray[np.integer], config: ProbeConfig) -> None:
        self.classes: npt.NDArray[np.integer] = np.unique(y)
        self.n_iter = 0
        self._scaler = StandardScaler().fit(x)
        self._x, self._y = self._scaler.transform(x), y
        self._model = LogisticRegression(max_iter=config.max_iter, tol=config.tol, warm_start=True)

    def fit(self, c: float) -> bool:
        """Whether the fit converged."""
        if len(self.classes) == 1:
            return True
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self._model.set_params(C=c).fit(self._x, self._y)
        for warning in caught:
            if not issubclass(warning.category, ConvergenceWarning):
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        self.n_iter = int(np.max(self._model.n_iter_))
        return not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)

    def scores(self, x: Floats) -> npt.NDArray[np.float64]:
        """(n, len(classes)) of raw features."""
        if len(self.classes) == 1:
            return np.zeros((len(x), 1))
        scores: npt.NDArray[np.float64] = self._model.decision_function(
            self._scaler.transform(np.asarray(x, np.float64))
        )
        return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores


def _chunks(x: Floats) -> Iterator[Floats]:
    return (x[start : start + _ROWS] for start in range(0, len(x), _ROWS))


def _check(x_train: Floats, y: npt.NDArray[np.integer], x_test: Floats, n_classes: int) -> None:
    if x_train.ndim != 2 or x_test.ndim != 2 or x_train.shape[1] != x_test.shape[1] or len(x_test) == 0:
        raise ValueError(f"features are {x_train.shape} and {x_test.shape}; give (n, d) and (n_test, d)")
    if y.shape != (len(x_train),) or len(y) == 0:
        raise ValueError(
            f"{len(x_train)} training features and labels of shape {y.shape}; give one label per row"
        )
    if y.min() < 0 or y.max() >= n_classes:
        raise ValueError(f"labels run from {y.min()} to {y.max()}; they have to be 0 to {n_classes - 1}")
    for name, x in (("training", x_train), ("test", x_test)):
        if not all(np.isfinite(rows).all() for rows in _chunks(x)):
            raise ValueError(
                f"the {name} features hold NaN or infinite values; the encoder that made them diverged"
            )
