"""Linear evaluation: multinomial logistic regression on frozen features, with C chosen inside the label
budget.

The protocol is SimCLR's transfer protocol (appendix B.8) with fewer values of C: L-BFGS, L2. Test labels are
never used here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssl_sweep.ssl_core.config.probe import ProbeConfig
from ssl_sweep.ssl_core.evaluation.fusion import (
    Features,
    Ints,
    check_features,
    check_labels,
    check_shapes,
    missing_classes,
    read,
)
from ssl_sweep.ssl_core.evaluation.logistic import LogisticFit, check_device, linear_scores, standardised
from ssl_sweep.ssl_core.evaluation.metrics import TOP, rank_classes
from ssl_sweep.ssl_core.evaluation.strength import FIXED_C, choose_c


@dataclass(frozen=True, kw_only=True)
class ProbeFit:
    """Result of a linear probe."""

    top5: Ints
    """(n_test, 5): class ids, best first, -1 beyond the classes of the label budget."""
    C: float
    """The chosen inverse regularisation strength."""
    converged: bool
    """Whether the final fit and every fit that chose C converged."""
    n_iter: int
    """Iterations of the final fit."""
    missing_classes: tuple[int, ...]
    """Classes without a label."""
    seconds: float


class LinearProbes:
    """Linear probes on one pair of features, x_train (n, d) and x_test (n_test, d).

    The test features are searched for NaN only once. If they are memory maps, only the rows of a label
    budget are loaded. No probe depends on another: in any order, and after a kill, each gives the same bits.
    ``device`` is "cpu" or torch's name of another one (see ``LogisticFit``).

    Raises:
        ValueError: Features are not finite, or shapes do not fit.
    """

    def __init__(self, x_train: Features, x_test: Features, *, device: str = "cpu") -> None:
        check_device(device)
        check_shapes(x_train, x_test)
        check_features("test", x_test)
        self._x_train, self._x_test, self.device = x_train, x_test, device

    def fit(
        self,
        rows: Ints | None,
        y: npt.NDArray[np.integer],
        *,
        n_classes: int,
        seed: int,
        config: ProbeConfig,
        groups: Ints | None = None,
    ) -> ProbeFit:
        """Fit on a whole label budget, and rank the classes of each test image.

        Features are standardised by the budget's own mean and deviation (inside each fold by the fold's).
        The final fit is in float64 and starts from zero, so it equals that of a plain scikit-learn pipeline.
        Classes without a label are never predicted; if there is only one, all test images get it.

        Args:
            rows: The budget's rows (n,) of the training features; None: all.
            y: Their labels (n,).
            n_classes: Number of classes.
            seed: Draws the folds that choose C, see ``choose_c``.
            config: The probe.
            groups: (n,); each is kept in one fold, -1 is no group.

        Raises:
            ValueError: Features are not finite, or labels or rows are out of range.
        """
        started = time.perf_counter()
        y = np.asarray(y)
        check_labels(self._x_train, rows, y, n_classes)
        check_features("training", self._x_train, rows)
        missing = missing_classes(y, n_classes)
        if (y == y[0]).all():
            top5 = np.full((len(self._x_test), TOP), -1, dtype=np.int64)
            top5[:, 0] = y[0]
            seconds = time.perf_counter() - started
            return ProbeFit(
                top5=top5, C=FIXED_C, converged=True, n_iter=0, missing_classes=missing, seconds=seconds
            )
        x = self._x_train[slice(None) if rows is None else rows]
        c, chosen_well = choose_c(x, y, seed=seed, config=config, groups=groups, device=self.device)
        del x  # the matrix of the final fit needs its memory
        fit = LogisticFit(standardised(self._x_train, rows), y, config, device=self.device)
        converged = fit.fit(c)
        weights = fit.weights()
        parts = [rank_classes(linear_scores(part, weights), fit.classes) for _, part in read(self._x_test)]
        return ProbeFit(
            top5=np.concatenate(parts),
            C=c,
            converged=converged and chosen_well,
            n_iter=fit.n_iter,
            missing_classes=missing,
            seconds=time.perf_counter() - started,
        )


def fit_linear_probe(
    x_train: Features,
    y_train: npt.NDArray[np.integer],
    x_test: Features,
    *,
    n_classes: int,
    seed: int,
    config: ProbeConfig,
    groups: Ints | None = None,
    device: str = "cpu",
) -> ProbeFit:
    """One probe on all of x_train (n, d), see ``LinearProbes``."""
    probes = LinearProbes(x_train, x_test, device=device)
    return probes.fit(None, y_train, n_classes=n_classes, seed=seed, config=config, groups=groups)
