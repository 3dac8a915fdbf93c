"""Intervals that cover, differences that pair, verdicts that say no more than the data."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from results_frame import Table
from scipy.special import ndtr

from ssl_sweep.sweep.report.frame import finest, usual
from ssl_sweep.sweep.report.statistics import (
    Estimate,
    contrast,
    equivalence,
    estimate,
    estimates,
    images_alone,
    images_variance,
    interval,
    paired_difference,
    rank_correlation,
    together,
    verdict,
)

Floats = npt.NDArray[np.float64]


def _difference(draw: np.random.Generator, n: int, m: int, seed_sd: float) -> Floats:
    """Hits of one method minus another's, (seeds, images): images are hard for both, seeds differ."""
    image = draw.normal(0, 1.0, m)
    hits = []
    for skill in (0.3, 0.1):
        own = draw.normal(0, 0.3, m) + draw.normal(0, 0.6, (n, m))
        hits.append((skill + draw.normal(0, seed_sd, (n, 1)) + image + own > 0).astype(np.float64))
    return np.asarray(hits[0] - hits[1])


def _truth(seed_sd: float) -> float:
    spread = np.sqrt(seed_sd**2 + 1 + 0.3**2 + 0.6**2)
    return float(ndtr(0.3 / spread) - ndtr(0.1 / spread))


@pytest.mark.parametrize("seed_sd", [0.02, 0.1])
@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_interval_covers_the_truth(n: int, seed_sd: float) -> None:
    draw, times = np.random.default_rng(n), 600
    inside = 0
    for _ in range(times):
        hits = _difference(draw, n, 400, seed_sd)
        found = interval(hits.mean(axis=1), images_variance(hits), images_alone(hits))
        assert found.low is not None and found.high is not None
        inside += found.low <= _truth(seed_sd) <= found.high
    assert inside / times >= 0.93


def test_percentiles_of_a_bootstrap_of_three_seeds_do_not() -> None:
    draw, times, inside, ours = np.random.default_rng(0), 200, 0, 0
    for _ in range(times):
        hits = _difference(draw, 3, 500, 0.3)
        images = draw.multinomial(500, np.full(500, 1 / 500), 200) / 500
        seeds = draw.integers(0, 3, (200, 3))
        means = np.take_along_axis(images @ hits.T, seeds, axis=1).mean(axis=1)
        low, high = np.percentile(means, [2.5, 97.5])
        inside += low <= _truth(0.3) <= high
        found = interval(hits.mean(axis=1), images_variance(hits), images_alone(hits))
        assert found.low is not None and found.high is not None
        ours += found.low <= _truth(0.3) <= found.high
    assert inside / times < 0.85 < 0.93 <= ours / times


def test_the_closed_form_is_what_resampling_gives() -> None:
    draw = np.random.default_rng(1)
    n, m = 4, 60
    hits = (draw.random((n, m)) < draw.random(m)).astype(np.float64)
    images = draw.multinomial(m, np.full(m, 1 / m), 40_000) / m
    resampled = (hits.mean(axis=0) @ images.T).var()  # images alone
    rest = hits - hits.mean(axis=0) - hits.mean(axis=1, keepdims=True) + hits.mean()
    chance = (rest**2).sum() / ((n - 1) * (m - 1)) / (n * m)
    assert images_variance(hits) == pytest.approx(resampled * m / (m - 1) - chance, rel=0.05)
    assert images_alone(hits) == pytest.approx(resampled * m / (m - 1), rel=0.05)


def test_images_with_the_same_answers_have_no_part() -> None:
    assert images_variance(np.tile([[0.2], [0.8], [0.5]], (1, 50))) == pytest.approx(0, abs=1e-12)


def test_seeds_that_happen_to_agree_do_not_hide_the_luck_of_the_images() -> None:
    hits = np.zeros((3, 200))
    for seed in range(3):
        hits[seed, 40 * seed : 40 * seed + 100] = 1  # each right on half, and each on other images
    assert images_variance(hits) == 0 and np.ptp(hits.mean(axis=1)) == 0
    rows = pd.DataFrame(
        {
            **{"pretrain_seed": range(3), "subset_seed": 0, "probe_seed": 0, "eval_domain": "scenes"},
            **{
                "top1": 0.5,
                "top1_std_err": 0.035,
                "n_test": 200,
                "images": 1,
                "n_labels": 1,
                "level_index": 0,
            },
            "hits": [np.packbits(one.astype(bool)).tobytes() for one in hits],
        }
    )
    found = estimate(rows)
    assert found.low is not None
    assert 0.5 - found.low == pytest.approx(1.96 * np.sqrt(hits.mean(axis=0).var(ddof=1) / 200), rel=1e-3)


def test_without_hits_and_errors_the_number_of_test_images_gives_the_interval() -> None:
    a, _ = _sides()
    bare = estimate(a.assign(hits=None, top1_std_err=np.nan))
    known = estimate(a.assign(hits=None))
    assert bare.low is not None and known.low is not None
    assert bare.low == pytest.approx(known.low, rel=1e-3)
    assert estimate(a.assign(hits=None, top1_std_err=np.nan, n_test=np.nan)).low is not None


def _sides(**other: object) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = Table(seed_noise=0.02)
    table.add(0.50, images=4000, probe_seeds=(0, 1))
    table.add(0.53, images=8000, **other)
    frame = finest(usual(table.frame()))
    return frame[frame["images"] == 8000], frame[frame["images"] == 4000]


def test_a_difference_uses_the_runs_that_both_sides_have() -> None:
    a, b = _sides(seeds=(2, 1, 7), probe_seeds=(1, 5))
    found = paired_difference(a, b)
    assert found is not None and found.n == 2
    by_hand = [
        _one(a, seed, 1) - _one(b, seed, 1)  # budget seed 1 is the common one
        for seed in (1, 2)
    ]
    assert found.mean == pytest.approx(np.mean(by_hand))


def _one(rows: pd.DataFrame, seed: int, probe_seed: int) -> float:
    return float(rows.query("pretrain_seed == @seed and probe_seed == @probe_seed")["top1"].iloc[0])


def test_budget_seeds_are_averaged_inside_a_pretraining_seed() -> None:
    _, b = _sides()
    found = estimate(b)
    assert found.n == 3
    assert found.mean == pytest.approx(b.groupby("pretrain_seed")["top1"].mean().mean())


def test_where_no_seed_is_common_there_is_no_difference() -> None:
    a, b = _sides(seeds=(8, 9))
    assert paired_difference(a, b) is None


def test_unfinished_runs_do_not_count() -> None:
    a, b = _sides()
    a = a.assign(top1=a["top1"].mask(a["pretrain_seed"] == 1))
    found = paired_difference(a, b)
    assert found is not None and found.n == 2


def test_one_seed_has_no_interval() -> None:
    a, b = _sides(seeds=(0,))
    found = paired_difference(a, b)
    assert found is not None and (found.low, found.high, found.n) == (None, None, 1)


def test_pairing_images_narrows_a_difference() -> None:
    a, b = _sides()
    paired, loose = paired_difference(a, b), paired_difference(a.assign(hits=None), b)
    assert paired and loose and paired.low and loose.low
    assert paired.mean == pytest.approx(loose.mean)
    assert paired.low > loose.low


def test_test_sets_of_two_domains_add_up() -> None:
    table = Table(seed_noise=0.0)
    table.add(0.5).add(0.5, eval_domain="land")
    frame = finest(table.frame())
    sides = [frame[frame["eval_domain"] == domain] for domain in ("scenes", "land")]
    one = estimate(sides[0])
    both = contrast([(1.0, sides[0]), (-1.0, sides[1])])
    assert one.high and both and both.high
    assert both.high - both.mean == pytest.approx((one.high - one.mean) * np.sqrt(2), rel=0.15)


def test_groups_give_what_one_estimate_gives() -> None:
    a, b = _sides()
    frame = pd.concat([a, b])
    found = estimates(frame, ["images"]).set_index("images")
    for images, rows in ((8000, a), (4000, b)):
        one = estimate(rows)
        assert tuple(found.loc[images]) == pytest.approx((one.mean, one.low, one.high, one.n))


# Rank correlation --------------------------------------------------------------------------------------


def test_a_rank_correlation_is_covered_by_its_interval() -> None:
    """Of a bivariate normal with correlation r, Spearman's is 6 / pi asin(r / 2) (Pearson 1907)."""
    chance, r, found = np.random.default_rng(5), 0.7, []
    truth = 6 / np.pi * np.arcsin(r / 2)
    for _ in range(600):
        a = chance.normal(size=14)
        b = r * a + np.sqrt(1 - r * r) * chance.normal(size=14)
        e = rank_correlation(pd.Series(a), pd.Series(b))
        assert e.low is not None and e.high is not None
        found.append(e.low <= truth <= e.high)
    assert 0.92 < np.mean(found) < 0.98


def test_a_perfect_order_of_few_is_no_certainty() -> None:
    few = rank_correlation(pd.Series([1, 2, 3, 4.0]), pd.Series([5, 6, 8, 9.0]))
    assert few.mean == few.high == 1 and few.low is not None and few.low < 0
    down = rank_correlation(pd.Series(range(30)), -pd.Series(range(30)))
    assert down.mean == down.low == pytest.approx(-1) and down.high is not None and -1 < down.high < -0.99
    assert rank_correlation(pd.Series([1.0, 2, 3]), pd.Series([1.0, 2, 3])).low is None
    flat = rank_correlation(pd.Series([1.0, 1, 1, 1]), pd.Series([1.0, 2, 3, 4]))
    assert np.isnan(flat.mean) and flat.low is None


# Verdicts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "n", "above", "same"),
    [
        (0.01, 0.05, 3, "holds", "not enough evidence"),
        (0.02, 0.05, 3, "holds", "does not hold"),
        (-0.01, 0.05, 3, "not enough evidence", "not enough evidence"),
        (-0.01, 0.01, 3, "does not hold", "holds"),
        (-0.05, -0.02, 3, "does not hold", "does not hold"),
        (0.001, 0.01, 3, "holds", "holds"),
        (0.02, 0.05, 2, "not enough evidence", "not enough evidence"),
        (None, None, 1, "not enough evidence", "not enough evidence"),
    ],
)
def test_verdicts(low: float | None, high: float | None, n: int, above: str, same: str) -> None:
    mean = 0.0 if low is None or high is None else (low + high) / 2
    found = Estimate(mean, low, high, n)
    assert verdict(found) == above
    assert equivalence(found) == same
    mirrored = Estimate(-mean, None if high is None else -high, None if low is None else -low, n)
    assert verdict(mirrored, -1) == above


def test_all_must_hold() -> None:
    assert together(["holds", "holds"]) == "holds"
    assert together(["holds", "not enough evidence"]) == "not enough evidence"
    assert together(["not enough evidence", "does not hold"]) == "does not hold"
    assert together([]) == "not enough evidence"
