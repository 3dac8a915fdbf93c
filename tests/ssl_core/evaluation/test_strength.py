from __future__ import annotations

import numpy as np
import pytest
from probe_case import CLASSES, CONFIG, features
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ssl_sweep.ssl_core.config.probe import ProbeConfig
from ssl_sweep.ssl_core.evaluation import strength
from ssl_sweep.ssl_core.evaluation.folds import folds_of, group_folds
from ssl_sweep.ssl_core.evaluation.logistic import LogisticFit, standardised, standardised_in_single
from ssl_sweep.ssl_core.evaluation.strength import FIXED_C, best_of, choose_c


def test_c_is_the_one_an_independent_cross_validation_picks():
    """Cold fits, a scaler per fold: the warm starts must not decide."""
    x, y = features(210, 2, spread=3.0)
    x = x.astype(np.float64)
    chosen, converged = choose_c(x, y, seed=4, config=CONFIG)
    shuffled = np.random.default_rng(4).permutation(len(y))
    fold = np.empty(len(y), dtype=int)
    fold[shuffled[np.argsort(y[shuffled], kind="stable")]] = np.arange(len(y)) % 3
    for label in range(CLASSES):
        assert np.ptp(np.bincount(fold[y == label], minlength=3)) <= 1, "folds are stratified"
    hits = []
    for c in CONFIG.cs:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=c, tol=1e-6, max_iter=5000))
        hits.append(
            sum(
                int((model.fit(x[fold != k], y[fold != k]).predict(x[fold == k]) == y[fold == k]).sum())
                for k in range(3)
            )
        )
    assert converged
    best = best_of(hits, len(y))
    assert abs(hits[best] - hits[CONFIG.cs.index(chosen)]) <= 1, "but for one image: fits stop at a tolerance"
    assert hits[best] >= max(hits) - 0.5 * (max(hits) * (1 - max(hits) / len(y))) ** 0.5
    assert len(set(hits)) > 1


@pytest.mark.parametrize(
    ("hits", "n", "best"),
    [
        ([200, 470, 498, 500, 400], 1000, 2),  # 2 of 500 are nothing, and a neighbour of 500 is far worse
        ([200, 470, 480, 500, 400], 1000, 3),  # 20 of 500 are more than a standard error
        ([4970, 5000, 4400], 10_000, 1),  # 30 of 5,000 are more than half of one
        ([4980, 5000, 4400], 10_000, 0),
        ([7, 7, 7], 9, 0),
        ([3], 9, 0),
        ([0, 0, 9], 9, 2),
    ],
)
def test_neighbours_decide_between_strengths_as_good_as_equal(hits, n, best):
    assert best_of(hits, n) == best


def test_the_smallest_of_equal_strengths_wins():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = rng.normal(size=(60, 3)) * 0.01 + y[:, None] * 10  # every strength separates it
    assert choose_c(x, y, seed=0, config=CONFIG)[0] == CONFIG.cs[0]


@pytest.mark.parametrize(
    ("n", "classes", "chooses"), [(8, 2, False), (9, 2, True), (13, 7, False), (14, 7, True)]
)
def test_too_few_labels_take_the_fixed_strength(n, classes, chooses):
    rng = np.random.default_rng(1)
    config = ProbeConfig(cs=(0.5, 5.0))
    found, _ = choose_c(rng.normal(size=(n, 4)), np.arange(n) % classes, seed=0, config=config)
    assert (found in config.cs) == chooses and (found == FIXED_C) == (not chooses)


def test_folds_follow_the_seed():
    x, y = features(60, 5, spread=6.0)
    config = ProbeConfig(cs=(1e-3, 1e-2, 1e-1))
    chosen = [choose_c(x, y, seed=s, config=config)[0] for s in range(6)]
    assert len(set(chosen)) > 1
    assert chosen[3:5] == [choose_c(x, y, seed=s, config=config)[0] for s in (3, 4)]


@pytest.mark.parametrize(("classes", "each", "folds"), [(5, 2, 3), (40, 6, 7)])
def test_groups_where_every_class_has_fewer_rows_than_folds(classes, each, folds):
    y = np.repeat(np.arange(classes), each)
    groups = np.random.default_rng(0).integers(-1, len(y) // 2, len(y))
    fold = folds_of(y, groups, 0, folds)
    assert set(fold) == set(range(folds)) and np.bincount(fold).max() <= 2 * len(y) / folds
    assert all(len(set(fold[groups == group])) == 1 for group in set(groups) - {-1})
    assert folds_of(y, np.zeros_like(y), 0, folds) is None


def test_groups_are_never_split_between_folds():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 8)
    y = np.arange(30)[groups] % 3
    fold = group_folds(y, groups, 0, 3)
    assert all(len(np.unique(fold[groups == g])) == 1 for g in range(30))
    assert set(fold) == {0, 1, 2}
    x = rng.normal(size=(240, 4))
    assert choose_c(x, y, seed=0, config=ProbeConfig(), groups=np.zeros(240, np.int64)) == (FIXED_C, True)
    alone = np.full(240, -1)
    assert choose_c(x, y, seed=0, config=ProbeConfig(), groups=alone)[0] in ProbeConfig().cs


def objective(fit: LogisticFit, x: np.ndarray, y: np.ndarray, c: float) -> float:
    """Mean loss and penalty, in float64, of the weights a fit gives for raw features."""
    weights, intercept = fit.weights()
    scores = x.astype(np.float64) @ weights.T + intercept
    scores -= scores.max(axis=1, keepdims=True)
    loss = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(y)), y]
    return loss.mean() + ((weights * fit._scale) ** 2).sum() / (2 * c * len(y))


def test_warm_starts_in_single_precision_reach_the_objective_of_cold_ones():
    """Lower is no fault: both stop at a tolerance of the gradient."""
    x, y = features(400, 0, spread=3.0)
    rows = np.arange(len(y))
    path = LogisticFit(standardised_in_single(x, rows), y, CONFIG, warm=True)
    for c in CONFIG.cs:
        assert path.fit(c)
        cold = LogisticFit(standardised(x, None), y, CONFIG)
        cold.fit(c)
        assert cold.n_iter > 0
        assert objective(path, x, y, c) <= objective(cold, x, y, c) + 1e-4


@pytest.mark.parametrize(
    ("hits", "tried", "chosen"),
    [
        ((60, 70, 78, 80, 81, 82, 83), 7, 6),  # rises all the way
        ((60, 80, 79, 78, 77, 77, 77), 7, 2),  # falls, but not by a standard error, 4 of 80: 79 is as good
        ((60, 80, 75, 74, 90, 90, 90), 4, 1),  # two clear falls in a row end it
        ((60, 80, 75, 78, 75, 78, 90), 7, 6),  # never two in a row
        ((80, 80, 80, 75, 70, 60, 50), 5, 0),  # the smallest among equals
    ],
)
def test_the_path_ends_after_two_clear_falls(hits, tried, chosen, monkeypatch):
    asked = []

    def scripted(fold, c):
        first = not asked or asked[-1][0] != c
        asked.append((c, first))
        return hits[CONFIG.cs.index(c)] if first else 0

    monkeypatch.setattr(strength._Fold, "hits", scripted)
    x, y = features(100, 0)
    assert choose_c(x, y, seed=0, config=CONFIG) == (CONFIG.cs[chosen], True)
    assert len({c for c, _ in asked}) == tried


def test_where_the_path_ends_early_nothing_better_lay_beyond(monkeypatch):
    rng = np.random.default_rng(3)
    y = rng.integers(0, 4, 300)
    x = rng.normal(size=(300, 60)) + 0.35 * np.eye(4, 60)[y]
    path = LogisticFit.fit
    tried: list[float] = []

    def recorded(fit, c):
        tried.append(c)
        return path(fit, c)

    monkeypatch.setattr(LogisticFit, "fit", recorded)
    config = ProbeConfig(cs=tuple(10.0**k for k in range(-4, 4)))
    found = choose_c(x, y, seed=0, config=config)
    assert max(tried) < 1e3
    monkeypatch.setattr(strength, "FALLS", 100)
    assert choose_c(x, y, seed=0, config=config) == found
    assert max(tried) == 1e3
