"""One logistic regression: standardised columns, scikit-learn's estimator, scores of raw features."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ssl_sweep.ssl_core.config.probe import ProbeConfig
from ssl_sweep.ssl_core.evaluation.fusion import Features, Floats, Ints, read

Doubles = npt.NDArray[np.float64]

_BLOCK_BYTES = 4 * 2**20


def check_device(device: str) -> None:
    """Raise ValueError if scikit-learn cannot compute on this device."""
    if device != "cpu" and os.environ.get("SCIPY_ARRAY_API") != "1":
        raise ValueError(
            f"device is {device!r}, but scikit-learn needs the environment variable SCIPY_ARRAY_API=1 there; "
            "set it before Python starts, or use 'cpu'"
        )


@dataclass(frozen=True, kw_only=True)
class Standardised:
    """A matrix (n, d) whose columns have mean 0 and deviation 1, and their former mean and scale, (d,)."""

    x: Floats
    mean: Doubles
    scale: Doubles


def standardised(x: Features, rows: Ints | None) -> Standardised:
    """The rows (n,) of features, or all if None, in float64: StandardScaler's numbers in one copy."""
    matrix = np.empty((len(x) if rows is None else len(rows), x.shape[1]))
    for part, values in read(x, rows):
        matrix[part] = values
    mean, scale = column_statistics(matrix)
    matrix -= mean
    matrix /= scale
    return Standardised(x=matrix, mean=mean, scale=scale)


def standardised_in_single(x: Floats, rows: Ints) -> Standardised:
    """The same, computed in float64 and then rounded to float32."""
    matrix = np.empty((len(rows), x.shape[1]), np.float32)
    mean, scale = column_statistics(x, rows)
    for part, values in read(x, rows):
        matrix[part] = (values - mean) / scale
    return Standardised(x=matrix, mean=mean, scale=scale)


def column_statistics(x: Floats, rows: Ints | None = None) -> tuple[Doubles, Doubles]:
    """Mean and scale (d,) of each column over the rows, bit for bit those of StandardScaler in float64.

    StandardScaler copies its input twice, so a large matrix is given to it a few columns at a time.
    """
    n = len(x) if rows is None else len(rows)
    width = max(16, x.shape[1] // 32, _BLOCK_BYTES // (8 * n))
    means, scales = [], []
    for start in range(0, x.shape[1], width):
        columns = slice(start, start + width)
        block = x[:, columns] if rows is None else x[rows, columns]
        scaler = StandardScaler().fit(block.astype(np.float64))
        means.append(scaler.mean_)
        scales.append(scaler.scale_)
    return np.concatenate(means), np.concatenate(scales)


class LogisticFit:
    """Fits on a standardised matrix and its labels y (n,) of two or more classes.

    If ``warm``, each fit starts from the one before it, and the first from the shares of the classes; else
    from zero. A ``device`` other than "cpu" is torch's name of one: the same estimator then computes there
    through scikit-learn's array API ("cpu:0" is the CPU through torch).
    """

    def __init__(
        self,
        standardised: Standardised,
        y: npt.NDArray[np.integer],
        config: ProbeConfig,
        *,
        warm: bool = False,
        device: str = "cpu",
    ) -> None:
        self.classes, codes = np.unique(y, return_inverse=True)
        self.n_iter = 0
        self._mean, self._scale = standardised.mean, standardised.scale
        self._x, self._y = _on_device(standardised.x, device), _on_device(codes, device)
        self._dispatch = device != "cpu"
        self._model = LogisticRegression(max_iter=config.max_iter, tol=config.tol, warm_start=warm)
        if warm:
            self._start_from_shares(np.bincount(codes) / len(codes), standardised.x)

    def _start_from_shares(self, shares: Doubles, x: Floats) -> None:
        """At the first, strongest penalty little more than the shares is learnt."""
        logits = np.log(shares)
        intercept = logits[1:] - logits[:1] if len(shares) == 2 else logits - logits.mean()
        self._model.intercept_ = intercept.astype(x.dtype)
        self._model.coef_ = np.zeros((len(intercept), x.shape[1]), x.dtype)

    def fit(self, c: float) -> bool:
        """Fit with inverse strength ``c``, and return whether it converged."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            # a small label budget is not a regression problem
            warnings.filterwarnings("ignore", "The number of unique classes is greater than")
            # features were checked when they were read
            with config_context(assume_finite=True, array_api_dispatch=self._dispatch):
                self._model.set_params(C=c).fit(self._x, self._y)
        for warning in caught:
            if not issubclass(warning.category, ConvergenceWarning):
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        self.n_iter = int(_on_host(self._model.n_iter_).max())
        return not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)

    def weights(self) -> tuple[Doubles, Doubles]:
        """Weights (classes, d) and offsets (classes,) that turn raw features into scores.

        The standardisation is folded in, so test features are never copied. Two classes get scores of
        opposite sign.
        """
        coef = _on_host(self._model.coef_).astype(np.float64)
        intercept = _on_host(self._model.intercept_).astype(np.float64)
        if len(self.classes) == 2:
            coef, intercept = np.concatenate([-coef, coef]), np.concatenate([-intercept, intercept])
        folded = coef / self._scale
        return folded, intercept - folded @ self._mean


def linear_scores(x: Floats, weights: tuple[Doubles, Doubles]) -> Doubles:
    """Scores (n, classes) of raw features (n, d)."""
    scores: Doubles = x.astype(np.float64) @ weights[0].T + weights[1]
    return scores


def _on_device(array: npt.NDArray[Any], device: str) -> Any:
    if device == "cpu":
        return array
    import torch

    return torch.from_numpy(array).to(device)


def _on_host(array: Any) -> npt.NDArray[Any]:
    return array if isinstance(array, np.ndarray) else np.asarray(array.cpu())
