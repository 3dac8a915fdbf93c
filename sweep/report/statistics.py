"""Means, intervals and verdicts.

What counts for a statement is the pretraining seed: n is their number; the seeds of the subset and of
the budget are averaged inside. An interval has two parts, as a two-level bootstrap has (seeds, then test
images, the same images for every seed and on both sides of a difference):

- seeds: s² / n, the bootstrap's variance times n / (n - 1), with Student's t of n - 1 degrees of freedom;
- test images: the variance of the images' means over their number, less what chance adds to it and the seeds'
  part already has (Owen 2007, the pigeonhole bootstrap), with the normal quantile.

The two half-widths add in quadrature. Both variances are the bootstrap's in the limit of many resamples, in
closed form: nothing is drawn. docs/statistics.md says why, and how often the intervals cover.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

Verdict = Literal["holds", "does not hold", "not enough evidence"]
Floats = npt.NDArray[np.float64]
_Sides = list[tuple[float, pd.DataFrame]]
_NORMAL = 1.959964
MARGIN = 0.015
"""Differences within ± this are "no difference": 1.5 points."""
MIN_SEEDS = 3


@dataclass(frozen=True)
class Estimate:
    """A mean, its 95 % interval (None with fewer than two pretraining seeds) and the number of seeds."""

    mean: float
    low: float | None
    high: float | None
    n: int


def estimate(rows: pd.DataFrame, metric: str = "top1") -> Estimate:
    """Mean of a metric over the pretraining seeds of `rows`, which are answers to one question.

    Raises:
        ValueError: no row has the metric.
    """
    found = contrast([(1.0, rows)], metric)
    if found is None:
        raise ValueError(f"rows: none has a {metric}")
    return found


def paired_difference(a: pd.DataFrame, b: pd.DataFrame, metric: str = "top1") -> Estimate | None:
    """a - b over the pretraining seeds that both have; None where there is none."""
    return contrast([(1.0, a), (-1.0, b)], metric)


def contrast(terms: Sequence[tuple[float, pd.DataFrame]], metric: str = "top1") -> Estimate | None:
    """The weighted sum of several answers, seed by seed, over the pretraining seeds that all of them have;
    within a seed over the subset and budget seeds that all have, where there are such. None where nothing
    pairs. The images' part needs `hits` and is that of top-1; for other metrics and without hits the interval
    has the seeds' part alone."""
    sides = [(weight, rows[rows[metric].notna()]) for weight, rows in terms]
    sides = _paired(sides)
    if not sides:
        return None
    by_seed = [weight * rows.groupby("pretrain_seed")[metric].mean() for weight, rows in sides]
    values = np.sum([values.to_numpy(np.float64) for values in by_seed], axis=0)  # (seeds,)
    images = _images_variance(sides, len(values)) if metric == "top1" and len(values) > 1 else 0.0
    return interval(values, images)


def estimates(rows: pd.DataFrame, by: Sequence[str], metric: str = "top1") -> pd.DataFrame:
    """`estimate` of every group of equal `by` (missing values are a value): a frame with those columns and
    mean, low, high (NaN with fewer than two seeds) and n, in the order of the groups' first rows."""
    rows = rows[rows[metric].notna()]
    found = []
    for _, group in rows.groupby(list(by), dropna=False, sort=False):
        values = group[metric].to_numpy(np.float64)
        seeds, place, runs = np.unique(group["pretrain_seed"], return_inverse=True, return_counts=True)
        means = np.bincount(place, values) / runs
        images = 0.0
        if metric == "top1" and len(seeds) > 1:
            images = _images_variance([(1.0, group)], len(seeds))
        one = interval(means, images)
        found.append((*group.iloc[0][list(by)], one.mean, one.low, one.high, one.n))
    names = [*by, "mean", "low", "high", "n"]
    return pd.DataFrame(found, columns=names).astype({"mean": float, "low": float, "high": float, "n": int})


def interval(values: Floats, images: float = 0.0) -> Estimate:
    """The estimate of one value per pretraining seed; `images` is the variance due to the test images."""
    n, mean = len(values), float(values.mean())
    if n < 2:
        return Estimate(mean, None, None, n)
    half = math.sqrt(_student(n - 1) ** 2 * float(values.var(ddof=1)) / n + _NORMAL**2 * images)
    return Estimate(mean, mean - half, mean + half, n)


def _paired(sides: _Sides) -> _Sides:
    """The rows of the seeds that every side has, in the order of the seeds; [] where there are none."""
    common = set.intersection(*(set(rows["pretrain_seed"]) for _, rows in sides))
    if not common:
        return []
    for names in (["pretrain_seed", "subset_seed", "probe_seed"], ["pretrain_seed", "probe_seed"]):
        keys = [pd.MultiIndex.from_frame(rows[names]) for _, rows in sides]
        shared = functools.reduce(pd.MultiIndex.intersection, keys)
        if set(shared.get_level_values(0)) == common:
            chosen = [key.isin(shared) for key in keys]
            return [(weight, rows[mask]) for (weight, rows), mask in zip(sides, chosen, strict=True)]
    return [(weight, rows[rows["pretrain_seed"].isin(common)]) for weight, rows in sides]


def _images_variance(sides: _Sides, n: int) -> float:
    """Variance of the mean that is due to the test images: of different datasets added up; where hits are
    missing the binomial one, as if no two sides had been tested on the same images (that is too wide)."""
    total = 0.0
    for domain in dict.fromkeys(rows["eval_domain"].iloc[0] for _, rows in sides):
        here = [(weight, rows) for weight, rows in sides if rows["eval_domain"].iloc[0] == domain]
        hits = _hits(here, n)
        if hits is not None:
            total += images_variance(hits)
        else:
            errors = (weight**2 * (rows["top1_std_err"] ** 2).mean() for weight, rows in here)
            total += float(np.nansum(list(errors)))
    return total


def images_variance(hits: Floats) -> float:
    """Variance of the mean of `hits` (seeds, images) that is due to the draw of images; at least 0."""
    n, m = hits.shape
    images, seeds, mean = hits.mean(axis=0), hits.mean(axis=1), float(hits.mean())
    between = float((images**2).sum()) - m * mean**2  # sums of squares of the two-way table
    rest = (
        float((hits**2).sum()) - n * m * mean**2 - n * between - m * (float((seeds**2).sum()) - n * mean**2)
    )
    chance = rest / ((n - 1) * (m - 1))
    return max(0.0, (between / (m - 1) - chance / n) / m)


def _hits(sides: _Sides, n: int) -> Floats | None:
    """The weighted sum of the sides' hits (n seeds, images); None where some are missing or of another test
    set."""
    counts = {int(count) for _, rows in sides for count in rows["n_test"].unique()}
    if len(counts) != 1 or any(rows["hits"].isna().any() for _, rows in sides):
        return None
    (m,) = counts
    total = np.zeros((n, m))
    for weight, rows in sides:
        packed = [np.frombuffer(hits, np.uint8) for hits in rows["hits"]]
        if m < 2 or any(len(one) != (m + 7) // 8 for one in packed):
            return None
        bits = np.unpackbits(np.stack(packed), axis=1, count=m)
        seed, runs = np.unique(rows["pretrain_seed"], return_inverse=True, return_counts=True)[1:]
        share = np.zeros((n, len(rows)), np.float32)
        share[seed, np.arange(len(rows))] = weight / runs[seed]
        total += share @ bits.astype(np.float32)
    return total


@functools.lru_cache(maxsize=256)
def _student(freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))


def verdict(
    difference: Estimate | None, direction: int = 1, *, n_min: int = MIN_SEEDS, margin: float = MARGIN
) -> Verdict:
    """Of "the difference is above 0" (direction 1) or below it (-1): holds where the interval excludes 0 on
    that side; does not hold where it lies wholly on the other side, or within ± margin."""
    if difference is None or difference.n < n_min or difference.low is None or difference.high is None:
        return "not enough evidence"
    low, high = sorted((direction * difference.low, direction * difference.high))
    if low > 0:
        return "holds"
    return "does not hold" if high < 0 or max(-low, high) <= margin else "not enough evidence"


def equivalence(difference: Estimate | None, margin: float = MARGIN, *, n_min: int = MIN_SEEDS) -> Verdict:
    """Of "there is no difference beyond ± margin": holds where the interval is within it, does not hold
    where it is wholly outside."""
    if difference is None or difference.n < n_min or difference.low is None or difference.high is None:
        return "not enough evidence"
    if -margin <= difference.low and difference.high <= margin:
        return "holds"
    outside = difference.low > margin or difference.high < -margin
    return "does not hold" if outside else "not enough evidence"


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """Of a statement that needs all of several: no correction for their number is needed."""
    if "does not hold" in verdicts:
        return "does not hold"
    return "holds" if verdicts and set(verdicts) == {"holds"} else "not enough evidence"
