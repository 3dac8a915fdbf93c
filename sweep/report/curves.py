"""Curves over sizes: accuracy against pretraining images, where one curve overtakes another, labels saved.

Everything is computed for each pretraining seed and then averaged, so that the intervals are over seeds. If
the data does not suffice, a ``NotFitted`` says why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ssl_sweep.sweep.report.statistics import Estimate, interval

Floats = npt.NDArray[np.float64]
MIN_SIZES, MIN_SEEDS = 4, 3
FEWER, NOT_REACHED = "fewer than", "not reached with"
"""How the reasons of ``labels_saved`` begin."""
_EXPONENTS = np.geomspace(0.05, 3.0, 120)


@dataclass(frozen=True)
class NotFitted:
    """Why a value is unknown, such as ``not fitted: 3 sizes (needs 4)``."""

    reason: str


@dataclass(frozen=True)
class PowerLaw:
    """top-1 = ceiling - scale · images^(-exponent), fitted for each seed.

    The curve is the mean of the fits.
    """

    fits: tuple[tuple[float, float, float], ...]
    """Ceiling, scale and exponent of each seed."""
    sizes: tuple[int, ...]
    """Numbers of pretraining images, ascending."""
    residual: float
    """Largest distance of a mean from the curve, as a share of 1."""
    next_gain: Estimate
    """top-1 gained by doubling the largest size, as a share of 1."""

    def __call__(self, images: float) -> float:
        return float(np.mean([_at(fit, images) for fit in self.fits]))

    @property
    def ceilings(self) -> tuple[float, float]:
        """The lowest and the highest ceiling."""
        found = [ceiling for ceiling, _, _ in self.fits]
        return min(found), max(found)


def _at(fit: tuple[float, float, float], images: float) -> float:
    ceiling, scale, exponent = fit
    return float(ceiling - scale * images**-exponent)


def fit_power_law(rows: pd.DataFrame, metric: str = "top1") -> PowerLaw | NotFitted:
    """The power law of rows that differ in ``images`` and seeds only."""
    curves = _curves(rows, "images", metric)
    sizes, seeds = curves.shape[1], len(curves)
    if sizes < MIN_SIZES or seeds < MIN_SEEDS:
        what = [f"{sizes} sizes (needs {MIN_SIZES})", f"{seeds} seeds with all of them (needs {MIN_SEEDS})"]
        return NotFitted(f"not fitted: {', '.join(what)}")
    x = curves.columns.to_numpy(np.float64)
    values = curves.to_numpy(np.float64)
    fits = tuple(_fit(x, one) for one in values)
    gains = [_at(fit, 2 * x[-1]) - _at(fit, x[-1]) for fit in fits]
    fitted = np.mean([[_at(fit, size) for size in x] for fit in fits], axis=0)
    residual = float(np.abs(values.mean(axis=0) - fitted).max())
    return PowerLaw(fits, tuple(int(size) for size in x), residual, interval(np.array(gains)))


def crossover(first: pd.DataFrame, second: pd.DataFrame, metric: str = "top1") -> Estimate | NotFitted:
    """The label budget from which ``second`` stays above ``first``, which is ahead with few labels.

    Both vary in n_labels and seeds only. The crossing is interpolated on log labels for each seed; mean and
    interval are those of the logarithm.
    """
    a, b = _matched(_curves(first, "n_labels", metric), _curves(second, "n_labels", metric))
    if len(a) == 0 or a.shape[1] < 2:
        return NotFitted("not fitted: needs two common label budgets and a common seed")
    x = np.log(a.columns.to_numpy(np.float64))
    lead = (b - a).to_numpy(np.float64)
    span = f"from {a.columns[0]:,.0f} to {a.columns[-1]:,.0f} labels"
    found = [_last_crossing(x, one) for one in lead]
    logs = [value for value in found if value is not None]
    if len(logs) < len(found):
        seeds = f" in {len(found) - len(logs)} of {len(found)} seeds" if logs else ""
        return NotFitted(f"the curves do not cross {span}{seeds}")
    return _of_logs(np.array(logs))


def labels_saved(
    pretrained: pd.DataFrame, scratch: pd.DataFrame, metric: str = "top1"
) -> pd.DataFrame | NotFitted:
    """With how many labels ``pretrained`` reaches the accuracy of each label budget of ``scratch``.

    Interpolated on log labels for each seed.

    Returns:
        Rows of labels, accuracy (a share of 1), needed, low, high, n and reason. If the labels needed lie
        outside of the budgets tried, ``needed`` is NaN and ``reason`` begins with ``FEWER`` or
        ``NOT_REACHED``.
    """
    a = _curves(pretrained, "n_labels", metric)
    b = _curves(scratch, "n_labels", metric)
    seeds = a.index.intersection(b.index)
    if len(seeds) == 0 or a.shape[1] < 2:
        return NotFitted("not fitted: needs two label budgets of the pretrained encoder and a common seed")
    x = np.log(a.columns.to_numpy(np.float64))
    found = []
    for labels in b.columns:
        goals = b.loc[seeds, labels].to_numpy(np.float64)
        logs = [_reaches(x, row, goal) for row, goal in zip(a.loc[seeds].to_numpy(), goals, strict=True)]
        known = [value for value in logs if math.isfinite(value)]
        needed: tuple[float | None, ...] = (None, None, None)
        reason = ""
        if len(known) == len(logs):
            one = _of_logs(np.array(known))
            needed = (one.mean, one.low, one.high)
        elif all(value == -math.inf for value in logs if not math.isfinite(value)):
            reason = f"{FEWER} {a.columns[0]:,.0f} labels"
        else:
            reason = f"{NOT_REACHED} {a.columns[-1]:,.0f} labels"
        found.append((float(labels), float(goals.mean()), *needed, len(known), reason))
    frame = pd.DataFrame(found, columns=["labels", "accuracy", "needed", "low", "high", "n", "reason"])
    return frame.astype({"needed": float, "low": float, "high": float})


def _curves(rows: pd.DataFrame, axis: str, metric: str) -> pd.DataFrame:
    """(pretraining seeds × values of ``axis``), for the seeds that have every value."""
    rows = rows[rows[metric].notna() & rows[axis].notna()]
    table = rows.groupby(["pretrain_seed", axis])[metric].mean().unstack()
    return table.dropna().sort_index(axis=1)


def _matched(a: pd.DataFrame, b: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    seeds, budgets = a.index.intersection(b.index), a.columns.intersection(b.columns)
    return a.loc[seeds, budgets], b.loc[seeds, budgets]


def _fit(x: Floats, y: Floats) -> tuple[float, float, float]:
    """Ceiling (at most 1), scale (at least 0) and exponent by least squares.

    The fit is linear once the exponent is fixed, so every exponent of a grid is tried.
    """
    best = (math.inf, float(y.mean()), 0.0, 1.0)
    for exponent in _EXPONENTS:
        u = x**-exponent
        spread = u - u.mean()
        scale = max(0.0, -float(spread @ y) / float(spread @ spread))
        ceiling = float(y.mean() + scale * u.mean())
        if ceiling > 1:
            ceiling, scale = 1.0, max(0.0, float(u @ (1 - y)) / float(u @ u))
        loss = float(((y - ceiling + scale * u) ** 2).sum())
        if loss < best[0]:
            best = (loss, ceiling, scale, float(exponent))
    return best[1:]


def _last_crossing(x: Floats, lead: Floats) -> float | None:
    """Where ``lead`` turns positive for good; None if it ends at or below 0, or is positive throughout."""
    if lead[-1] <= 0 or (lead > 0).all():
        return None
    i = int(np.flatnonzero(lead <= 0)[-1])
    return float(x[i] + (x[i + 1] - x[i]) * (-lead[i]) / (lead[i + 1] - lead[i]))


def _reaches(x: Floats, curve: Floats, goal: float) -> float:
    """Where the curve first reaches the goal; -inf if it starts above it, inf if it never reaches it."""
    if curve[0] > goal:
        return -math.inf
    for i in range(len(x) - 1):
        if curve[i] <= goal <= curve[i + 1]:
            rise = curve[i + 1] - curve[i]
            return float(x[i] + (x[i + 1] - x[i]) * ((goal - curve[i]) / rise if rise > 0 else 0.0))
    return math.inf


def _of_logs(logs: Floats) -> Estimate:
    one = interval(logs)
    low = None if one.low is None else math.exp(one.low)
    high = None if one.high is None else math.exp(one.high)
    return Estimate(math.exp(one.mean), low, high, one.n)
