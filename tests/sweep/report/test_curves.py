"""Curves against laws that are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ssl_sweep.sweep.report.curves import NotFitted, PowerLaw, crossover, fit_power_law, labels_saved
from ssl_sweep.sweep.report.statistics import Estimate

SIZES = (1000, 2000, 4000, 8000, 16000)


def law(images: float, seed: int = 0) -> float:
    return 0.8 - 4.0 * images**-0.4 + 0.002 * (seed - 1)


def curve(values: dict[int, float], axis: str, seeds: tuple[int, ...] = (0, 1, 2)) -> pd.DataFrame:
    rows = [
        {"pretrain_seed": seed, axis: size, "top1": value + 0.002 * (seed - 1)}
        for seed in seeds
        for size, value in values.items()
    ]
    return pd.DataFrame(rows)


def test_the_law_is_found_and_foretells_the_next_doubling() -> None:
    found = fit_power_law(curve({n: law(n) - 0.002 * -1 for n in SIZES}, "images"))
    assert isinstance(found, PowerLaw)
    assert found.residual < 1e-3
    assert all(exponent == pytest.approx(0.4, abs=0.05) for _, _, exponent in found.fits)
    assert found.ceilings == pytest.approx((0.798, 0.802), abs=0.02)
    assert found(32000) - found(16000) == pytest.approx(found.next_gain.mean)
    truth = law(32000) - law(16000)
    assert found.next_gain.mean == pytest.approx(truth, abs=2e-3)
    assert found.next_gain.low is not None and found.next_gain.n == 3
    assert found(16000) == pytest.approx(law(16000) + 0.002, abs=1e-3)


def test_a_flat_curve_gains_nothing() -> None:
    found = fit_power_law(curve(dict.fromkeys(SIZES, 0.6), "images"))
    assert isinstance(found, PowerLaw)
    assert found.next_gain.mean == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("sizes", "seeds", "said"), [(3, (0, 1, 2), "3 sizes (needs 4)"), (5, (0, 1), "2 seeds with all of them")]
)
def test_too_little_is_not_fitted(sizes: int, seeds: tuple[int, ...], said: str) -> None:
    rows = curve({n: law(n) for n in SIZES[:sizes]}, "images", seeds)
    found = fit_power_law(rows)
    assert isinstance(found, NotFitted) and said in found.reason


def test_a_size_missing_for_one_seed_leaves_the_seed_out() -> None:
    rows = curve({n: law(n) for n in SIZES}, "images", (0, 1, 2, 3)).drop(index=7)
    found = fit_power_law(rows)
    assert isinstance(found, PowerLaw) and found.next_gain.n == 3


PROBE = {100: 0.40, 1000: 0.50, 10000: 0.60}
SCRATCH = {100: 0.10, 1000: 0.40, 10000: 0.70}


def test_the_crossing_is_where_the_lines_meet_on_log_labels() -> None:
    found = crossover(curve(PROBE, "n_labels"), curve(SCRATCH, "n_labels"))
    assert isinstance(found, Estimate)
    assert found.mean == pytest.approx(1000 * np.sqrt(10), rel=1e-6)
    assert found.low is not None and found.n == 3


def test_curves_that_do_not_cross_say_so() -> None:
    ahead = {labels: value + 0.3 for labels, value in PROBE.items()}
    found = crossover(curve(ahead, "n_labels"), curve(SCRATCH, "n_labels"))
    assert isinstance(found, NotFitted) and "do not cross from 100 to 10,000 labels" in found.reason
    assert isinstance(crossover(curve(SCRATCH, "n_labels"), curve(ahead, "n_labels")), NotFitted)


def test_a_wiggle_counts_from_where_it_is_overtaken_for_good() -> None:
    wiggle = {100: 0.10, 500: 0.55, 1000: 0.40, 10000: 0.70}
    probe = {100: 0.40, 500: 0.45, 1000: 0.50, 10000: 0.60}
    found = crossover(curve(probe, "n_labels"), curve(wiggle, "n_labels"))
    assert isinstance(found, Estimate) and 1000 < found.mean < 10000


def test_labels_saved() -> None:
    found = labels_saved(curve(PROBE, "n_labels"), curve(SCRATCH, "n_labels"))
    assert isinstance(found, pd.DataFrame)
    few, some, many = found.to_dict("records")
    assert "fewer than 100" in few["reason"] and np.isnan(few["needed"])
    assert some["needed"] == pytest.approx(100, rel=1e-6) and some["n"] == 3
    assert "not reached with 10,000" in many["reason"]


def test_no_common_seed_is_a_reason() -> None:
    one, other = curve(PROBE, "n_labels", (0,)), curve(SCRATCH, "n_labels", (1,))
    assert isinstance(crossover(one, other), NotFitted)
    assert isinstance(labels_saved(one, other), NotFitted)
