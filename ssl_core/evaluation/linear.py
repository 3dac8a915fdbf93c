"""Linear evaluation: multinomial logistic regression on frozen features, its strength chosen inside the
label budget.

The protocol is SimCLR's transfer protocol (appendix B.8) with fewer strengths: L-BFGS, L2. Test labels do
not come in here at all.
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
    """`top5` (n_test, 5): class ids, best first, -1 beyond the classes the budget had. `C` as chosen;
    `n_iter` of the final fit; `converged` says that it and every fit C was chosen by did;
    `missing_classes` had no label."""

    top5: Ints
    C: float
    converged: bool
    n_iter: int
    missing_classes: tuple[int, ...]
    seconds: float


class LinearProbes:
    """Linear probes of one pair of features, x_train (n, d) and x_test (n_test, d), which are looked
    through for NaN once. Memory maps stay on the disk but for a budget's rows.

    No probe depends on another: in any order, and after a kill, each gives the same bits. `device` is
    "cpu" or torch's name of another one (see `LogisticFit`). ValueError for features that are not finite or
    shapes that do not fit.
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
        """Fit on a whole budget, the `rows` (n,) of the training features (None: all) and their labels y
        (n,), and rank the classes of each test image.

        Features are standardised by the budget's own mean and deviation (inside each fold by the fold's).
        C is chosen by `choose_c`; `seed` draws its folds, which keep each of the `groups` (n,) whole. The
        final fit is in float64 and starts from zero, so it is a plain scikit-learn pipeline's. Classes of
        `n_classes` without a label are never predicted; with one class only, all test images are of it.
        ValueError for features that are not finite, or labels or rows that are out of range.
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
        del x  # the matrix of the final fit takes its place
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
    """One probe on all of x_train (n, d): see `LinearProbes`."""
    probes = LinearProbes(x_train, x_test, device=device)
    return probes.fit(None, y_train, n_classes=n_classes, seed=seed, config=config, groups=groups)
