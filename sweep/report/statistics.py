"""Means, intervals and verdicts.

The unit of a statement is the pretraining seed: n is their number, and the seeds of the subset and of the
label budget are averaged within each. An interval has two parts, like a two-level bootstrap over seeds and
test images (the same images for every seed and on both sides of a difference):

- seeds: s² / n, the bootstrap's variance times n / (n - 1), with Student's t of n - 1 degrees of freedom;
- test images: the variance of the images' means over their number, less what chance adds to it and the
  seeds' part already contains (Owen 2007, the pigeonhole bootstrap), with the normal quantile.

The two half-widths add in quadrature. An interval is never narrower than that of these very seeds with only
the images resampled, however alike a few seeds happen to be. The variances are the bootstrap's in the limit
of many resamples, in closed form: nothing is drawn. docs/statistics.md gives the reasons, and the measured
coverage.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from ssl_sweep.sweep.report.frame import SEEDS

Verdict = Literal["holds", "does not hold", "not enough evidence"]
Floats = npt.NDArray[np.float64]
_NORMAL = 1.959964
MARGIN = 0.015
"""Differences within ± this share count as no difference: 1.5 points."""
MIN_SEEDS = 3
"""Pretraining seeds that a verdict needs."""
Rows: TypeAlias = "pd.DataFrame | Runs"


@dataclass(frozen=True)
class Estimate:
    """A mean over pretraining seeds with its 95 % interval."""

    mean: float
    low: float | None
    """None with fewer than two seeds, as ``high``."""
    high: float | None
    n: int
    """Number of seeds."""


def estimate(rows: Rows, metric: str = "top1") -> Estimate:
    """Mean of a metric over the pretraining seeds of ``rows``, which are results of one question.

    Raises:
        ValueError: no row has the metric.
    """
    found = contrast([(1.0, rows)], metric)
    if found is None:
        raise ValueError(f"no row has a {metric}")
    return found


def paired_difference(a: Rows, b: Rows, metric: str = "top1") -> Estimate | None:
    """a - b over the pretraining seeds that both have; None if they share no seed."""
    return contrast([(1.0, a), (-1.0, b)], metric)


def contrast(terms: Sequence[tuple[float, Rows]], metric: str = "top1") -> Estimate | None:
    """The weighted sum of several results, seed by seed, over the pretraining seeds that all of them have.

    Within a pretraining seed it is over the subset and label-budget seeds that all have, if they share any.
    Only for top-1 does the interval include the images' part; without ``hits`` that is the binomial one,
    unpaired.

    Args:
        terms: weight and rows of each result.

    Returns:
        None if the results share no pretraining seed.
    """
    sides = _paired([_Side.of(weight, rows, metric) for weight, rows in terms])
    if not sides:
        return None
    values = np.sum([side.weight * side.means() for side in sides], axis=0)  # (seeds,)
    images, alone = _images_variances(sides) if metric == "top1" and len(values) > 1 else (0.0, 0.0)
    return interval(values, images, alone)


def estimates(rows: pd.DataFrame, by: Sequence[str], metric: str = "top1") -> pd.DataFrame:
    """``estimate`` of every group of equal ``by``; a missing value counts as a value.

    Returns:
        The columns ``by``, mean, low, high (NaN with fewer than two seeds) and n, in the order of the groups'
        first rows.
    """
    rows = rows[rows[metric].notna()]
    found = []
    runs, groups = Runs.of(rows, metric), rows.groupby(list(by), dropna=False, sort=False, observed=True)
    places = positions(groups.ngroup().to_numpy())
    for place in places:
        one = contrast([(1.0, runs.take(place))], metric)
        assert one is not None  # rows without the metric are gone
        found.append((one.mean, one.low, one.high, one.n))
    numbers = pd.DataFrame(found, columns=["mean", "low", "high", "n"])
    numbers = numbers.astype({"mean": float, "low": float, "high": float, "n": int})
    firsts = rows[list(by)].iloc[[place[0] for place in places]].reset_index(drop=True)
    return pd.concat([firsts, numbers], axis=1)


def positions(codes: npt.NDArray[np.int64]) -> list[npt.NDArray[np.intp]]:
    """The positions of each code, in the order of their first occurrence."""
    if len(codes) == 0:
        return []
    order = np.argsort(codes, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    return sorted(groups, key=lambda group: int(group[0]))


def interval(values: Floats, images: float = 0.0, alone: float = 0.0) -> Estimate:
    """The estimate from one value per pretraining seed.

    Args:
        values: (seeds,).
        images: variance due to the test images beyond what the spread of the seeds contains.
        alone: the whole variance due to the test images, for these very seeds; a lower bound of the total.
    """
    n, mean = len(values), float(values.mean())
    if n < 2:
        return Estimate(mean, None, None, n)
    both = _student(n - 1) ** 2 * float(values.var(ddof=1)) / n + _NORMAL**2 * images
    half = math.sqrt(max(both, _NORMAL**2 * alone))
    return Estimate(mean, mean - half, mean + half, n)


@dataclass(frozen=True)
class Runs:
    """The columns that statistics need, as arrays (runs,).

    Selecting from a frame would take most of the time.
    """

    COLUMNS: ClassVar = (
        *SEEDS,
        *("top1", "top1_std_err", "n_test", "hits", "eval_domain", "images", "n_labels", "level_index"),
    )

    seeds: npt.NDArray[np.int64]
    """(runs, 3): pretraining, subset and label-budget seed."""
    values: Floats
    """The metric; NaN if the run is not finished."""
    errors: Floats
    """Standard errors of top-1."""
    n_test: Floats
    hits: npt.NDArray[np.object_]
    domain: npt.NDArray[np.object_]
    images: Floats
    n_labels: Floats
    level_index: npt.NDArray[np.int64]

    @classmethod
    def of(cls, rows: pd.DataFrame, metric: str = "top1") -> Runs:
        """The runs in the rows of a frame."""

        def floats(name: str) -> Floats:
            return rows[name].to_numpy(np.float64)

        return cls(
            seeds=rows[list(SEEDS)].to_numpy(np.int64),
            values=floats(metric),
            errors=floats("top1_std_err"),
            n_test=floats("n_test"),
            hits=rows["hits"].to_numpy(object),
            domain=rows["eval_domain"].to_numpy(object),
            images=floats("images"),
            n_labels=floats("n_labels"),
            level_index=rows["level_index"].to_numpy(np.int64),
        )

    def __len__(self) -> int:
        return len(self.values)

    def take(self, at: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Runs:
        """The runs at these positions, or those marked True."""
        return Runs(*(getattr(self, field.name)[at] for field in fields(self)))

    def binomial(self) -> float:
        """Mean variance of a run's top-1 over the draw of test images.

        From its standard error, else from its accuracy and the number of images; 0 if neither is known.
        """
        variances = np.where(
            np.isnan(self.errors), self.values * (1 - self.values) / self.n_test, self.errors**2
        )
        known = variances[np.isfinite(variances)]
        return float(known.mean()) if len(known) else 0.0

    def frame(self) -> pd.DataFrame:
        """The columns that curves need: pretrain_seed, images, n_labels, top1."""
        columns = {"pretrain_seed": self.seeds[:, 0], "images": self.images, "n_labels": self.n_labels}
        return pd.DataFrame({**columns, "top1": self.values})


@dataclass(frozen=True)
class _Side:
    """The finished runs of one result and its weight."""

    weight: float
    runs: Runs
    keys: list[tuple[int, ...]]

    @classmethod
    def of(cls, weight: float, rows: Rows, metric: str) -> _Side:
        runs = rows if isinstance(rows, Runs) else Runs.of(rows, metric)
        done = ~np.isnan(runs.values)
        runs = runs if done.all() else runs.take(done)
        return cls(weight, runs, list(map(tuple, runs.seeds.tolist())))

    def only(self, kept: list[bool]) -> _Side:
        if all(kept):
            return self
        keys = [key for key, keep in zip(self.keys, kept, strict=True) if keep]
        return _Side(self.weight, self.runs.take(np.array(kept)), keys)

    def shares(self) -> Floats:
        """(seeds, runs): the weight of each run in the mean of its seed; seeds ascending."""
        seeds = self.runs.seeds[:, 0]
        owns = (np.unique(seeds)[:, None] == seeds).astype(np.float64)
        return np.asarray(owns / owns.sum(axis=1, keepdims=True))

    def means(self) -> Floats:
        return np.asarray(self.shares() @ self.runs.values)


def _paired(sides: list[_Side]) -> list[_Side]:
    """The runs of the seeds that every side has; [] if they share no pretraining seed."""
    common = set.intersection(*({key[0] for key in side.keys} for side in sides))
    if not common:
        return []
    # pretraining, subset and budget seed; else pretraining and budget seed; else pretraining seed alone
    for parts in ((0, 1, 2), (0, 2), (0,)):
        keys = [[tuple(key[i] for i in parts) for key in side.keys] for side in sides]
        shared = set.intersection(*map(set, keys))
        if {key[0] for key in shared} == common:
            break
    return [side.only([key in shared for key in own]) for side, own in zip(sides, keys, strict=True)]


def _images_variances(sides: list[_Side]) -> tuple[float, float]:
    """``images`` and ``alone`` of an interval, summed over datasets.

    If hits are missing they are binomial, as if no two sides had the same test images; that is too wide.
    """
    total = alone = 0.0
    for domain in dict.fromkeys(side.runs.domain[0] for side in sides):
        here = [side for side in sides if side.runs.domain[0] == domain]
        hits = _hits(here)
        if hits is not None:
            total += images_variance(hits)
            alone += images_alone(hits)
        else:
            binomial = sum(side.weight**2 * side.runs.binomial() for side in here)
            total, alone = total + binomial, alone + binomial
    return total, alone


def images_variance(hits: Floats) -> float:
    """Variance of the mean of ``hits`` (seeds, images) that is due to the draw of images; at least 0."""
    n, m = hits.shape
    images, seeds, mean = hits.mean(axis=0), hits.mean(axis=1), float(hits.mean())
    between = float((images**2).sum()) - m * mean**2  # sums of squares of the two-way table
    rest = (
        float((hits**2).sum()) - n * m * mean**2 - n * between - m * (float((seeds**2).sum()) - n * mean**2)
    )
    chance = rest / ((n - 1) * (m - 1))
    return max(0.0, (between / (m - 1) - chance / n) / m)


def images_alone(hits: Floats) -> float:
    """Variance of the mean of ``hits`` (seeds, images) over the draw of images, for these very seeds."""
    return float(hits.mean(axis=0).var(ddof=1)) / hits.shape[1]


def _hits(sides: list[_Side]) -> Floats | None:
    """The weighted sum of the sides' hits (seeds, images).

    None if some are missing or the test sets differ.
    """
    counts = set(np.concatenate([side.runs.n_test for side in sides]).tolist())
    if len(counts) != 1 or not math.isfinite(first := next(iter(counts))) or first < 2:
        return None
    m = int(first)
    total: Floats | None = None
    for side in sides:
        if not all(isinstance(one, bytes) and len(one) == (m + 7) // 8 for one in side.runs.hits):
            return None
        packed = np.stack([np.frombuffer(one, np.uint8) for one in side.runs.hits])
        bits = np.unpackbits(packed, axis=1, count=m).astype(np.float32)
        part = (side.weight * side.shares()).astype(np.float32) @ bits
        total = part.astype(np.float64) if total is None else total + part
    return total


def rank_correlation(a: pd.Series, b: pd.Series) -> Estimate:
    """Spearman's rank correlation with the interval of Bonett and Wright (2000, Psychometrika).

    n counts the pairs; an interval needs four. The correlation with a constant is NaN. The interval of a
    perfect order is that of the nearest imperfect one, else it would be a single point.
    """
    n = len(a)
    r = float(a.rank().corr(b.rank())) if min(a.nunique(), b.nunique()) > 1 else math.nan
    if n < 4 or math.isnan(r):
        return Estimate(r, None, None, n)
    most = 1 - 12 / (n * (n * n - 1))
    near = min(max(r, -most), most)
    half = _NORMAL * math.sqrt((1 + near * near / 2) / (n - 3))
    low, high = (math.tanh(math.atanh(near) + side * half) for side in (-1, 1))
    return Estimate(r, min(low, r), max(high, r), n)


@functools.lru_cache(maxsize=256)
def _student(freedom: int) -> float:
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    return float(stdtrit(freedom, 0.975))


def verdict(
    difference: Estimate | None, direction: int = 1, *, n_min: int = MIN_SEEDS, margin: float = MARGIN
) -> Verdict:
    """Whether a difference is above 0 (``direction`` 1) or below it (-1).

    Holds if the interval excludes 0 on that side. Does not hold if it lies wholly on the other side, or
    within ± ``margin``.
    """
    if difference is None or difference.n < n_min or difference.low is None or difference.high is None:
        return "not enough evidence"
    low, high = sorted((direction * difference.low, direction * difference.high))
    if low > 0:
        return "holds"
    return "does not hold" if high < 0 or max(-low, high) <= margin else "not enough evidence"


def equivalence(difference: Estimate | None, margin: float = MARGIN, *, n_min: int = MIN_SEEDS) -> Verdict:
    """Whether a difference is within ± ``margin``.

    Holds if the whole interval is within it. Does not hold if it is wholly outside.
    """
    if difference is None or difference.n < n_min or difference.low is None or difference.high is None:
        return "not enough evidence"
    if -margin <= difference.low and difference.high <= margin:
        return "holds"
    outside = difference.low > margin or difference.high < -margin
    return "does not hold" if outside else "not enough evidence"


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict of a statement that needs all of several; this needs no correction for their number."""
    if "does not hold" in verdicts:
        return "does not hold"
    return "holds" if verdicts and set(verdicts) == {"holds"} else "not enough evidence"
