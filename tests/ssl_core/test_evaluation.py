from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ssl_core.config import ProbeConfig
from ssl_core.evaluation.folds import group_folds
from ssl_core.evaluation.linear import fit_linear_probe
from ssl_core.evaluation.metrics import map_up, score
from ssl_core.evaluation.strength import FIXED_C, choose_c

CONFIG = ProbeConfig()
CLASSES, DIM = 7, 12


def features(n: int, seed: int, classes: int = CLASSES, spread: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Clusters on scales from 1e-3 to 1e3, so that standardising matters."""
    centres = np.random.default_rng(99).normal(size=(classes, DIM))
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    x = (centres[y] + spread * rng.normal(size=(n, DIM))) * np.logspace(-3, 3, DIM) + 5
    return x.astype(np.float32), y


def probe(x, y, x_test, **kwargs):
    return fit_linear_probe(x, y, x_test, **{"n_classes": CLASSES, "seed": 0, "config": CONFIG, **kwargs})


def test_predictions_are_a_plain_pipelines():
    (x, y), (x_test, _) = features(400, 0), features(300, 1)
    fit = probe(x, y, x_test)
    plain = make_pipeline(StandardScaler(), LogisticRegression(C=fit.C, tol=CONFIG.tol, max_iter=1000))
    plain.fit(x.astype(np.float64), y)
    ranked = np.argsort(-plain.decision_function(x_test.astype(np.float64)), axis=1)[:, :5]
    assert fit.converged and fit.n_iter > 0 and fit.missing_classes == ()
    np.testing.assert_array_equal(fit.top5, ranked)


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
    assert max(hits) - hits[CONFIG.cs.index(chosen)] <= 1, (
        "within one image of the best: fits stop at a tolerance"
    )
    assert len(set(hits)) > 1


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


def test_nothing_outside_the_budget_is_looked_at():
    """Other test features change predictions of those rows only; C, scaler and fit stay."""
    (x, y), (x_test, _) = features(200, 0), features(50, 1)
    fit = probe(x, y, x_test)
    changed = x_test.copy()
    changed[25:] = 1e6
    again = probe(x, y, changed)
    assert (again.C, again.n_iter) == (fit.C, fit.n_iter)
    np.testing.assert_array_equal(again.top5[:25], fit.top5[:25])


def test_a_budget_that_misses_classes_predicts_in_the_full_label_set():
    (x, y), (x_test, y_test) = features(200, 0), features(100, 1)
    kept = np.isin(y, [1, 4, 6])
    fit = probe(x[kept], y[kept], x_test)
    assert fit.missing_classes == (0, 2, 3, 5)
    assert set(np.unique(fit.top5[:, :3])) == {1, 4, 6} and (fit.top5[:, 3:] == -1).all()
    known = np.isin(y_test, [1, 4, 6])
    assert (fit.top5[known, 0] == y_test[known]).mean() > 0.6
    assert score(y_test, fit.top5, CLASSES).top5 == pytest.approx(known.mean()), (
        "a class without a label is no hit"
    )


def test_two_classes():
    (x, y), (x_test, y_test) = features(200, 0, classes=2), features(100, 1, classes=2)
    fit = probe(x, y, x_test, n_classes=2)
    assert (fit.top5[:, 0] == y_test).mean() > 0.8
    assert (np.sort(fit.top5[:, :2], axis=1) == [0, 1]).all() and (fit.top5[:, 2:] == -1).all()


def test_folds_that_lack_a_class_or_have_one_only():
    x, y = features(30, 0)
    y = np.where(np.arange(30) < 28, 2, y)
    y[-1] = 5
    fit = probe(x, y, x)
    assert fit.C in CONFIG.cs and set(np.unique(fit.top5[:, 0])) <= set(np.unique(y))


def test_one_class_only():
    x, _ = features(20, 0)
    fit = probe(x, np.full(20, 3), x[:4])
    assert fit.top5.tolist() == [[3, -1, -1, -1, -1]] * 4
    assert fit.converged and fit.missing_classes == (0, 1, 2, 4, 5, 6)


def test_one_image_and_constant_features():
    x, y = features(50, 0)
    assert (probe(x[:1], y[:1], x).top5[:, 0] == y[0]).all()
    constant = np.full((50, DIM), 3.0, dtype=np.float32)
    fit = probe(constant, y, constant)
    assert len(np.unique(fit.top5[:, 0])) == 1
    half = np.concatenate([x, constant], axis=1)
    np.testing.assert_array_equal(probe(half, y, half).top5, probe(x, y, x).top5)


def test_folds_follow_the_seed():
    x, y = features(60, 5, spread=6.0)
    chosen = {choose_c(x.astype(float), y, seed=s, config=CONFIG)[0] for s in range(12)}
    assert len(chosen) > 1
    assert choose_c(x.astype(float), y, seed=3, config=CONFIG) == choose_c(
        x.astype(float), y, seed=3, config=CONFIG
    )


def test_a_fit_that_does_not_converge_is_reported():
    x, y = features(300, 0)
    fit = probe(x, y, x, config=ProbeConfig(max_iter=2))
    assert not fit.converged


def test_memory_mapped_features(tmp_path):
    x, y = features(100, 0)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(probe(mapped, y, mapped).top5, probe(x, y, x).top5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["training", "test"])
def test_features_that_are_not_finite(bad, where):
    (x, y), (x_test, _) = features(30, 0), features(10, 1)
    (x if where == "training" else x_test)[4, 2] = bad
    with pytest.raises(ValueError, match=f"the {where} features hold NaN or infinite values"):
        probe(x, y, x_test)


@pytest.mark.parametrize(
    ("x", "y", "x_test", "message"),
    [
        (np.ones((3, 2)), np.zeros(4, int), np.ones((1, 2)), "one label per row"),
        (np.ones((3, 2)), np.zeros(3, int), np.ones((1, 3)), r"\(3, 2\) and \(1, 3\)"),
        (np.ones((3, 2)), np.array([0, 1, 7]), np.ones((1, 2)), "labels run from 0 to 7"),
        (np.ones((0, 2)), np.zeros(0, int), np.ones((1, 2)), "one label per row"),
    ],
)
def test_shapes_that_do_not_fit(x, y, x_test, message):
    with pytest.raises(ValueError, match=message):
        probe(x, y, x_test)


def test_score_by_hand():
    y = np.array([0, 0, 0, 1, 2])
    top5 = np.array(
        [[0, 1, 2, -1, -1], [0, 2, 1, -1, -1], [1, 0, 2, -1, -1], [1, -1, -1, -1, -1], [0, 1, -1, -1, -1]]
    )
    found = score(y, top5, 4)
    assert (found.top1, found.top5, found.n_test) == (pytest.approx(3 / 5), pytest.approx(4 / 5), 5)
    assert found.balanced_accuracy == pytest.approx((2 / 3 + 1 + 0) / 3), "class 3 is not in the test set"
    assert found.top1_std_err == pytest.approx(math.sqrt(0.6 * 0.4 / 5))


def test_score_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="outside 0 to 1"):
        score(np.array([0, 2]), np.zeros((2, 5), int), 2)
    with pytest.raises(ValueError, match="2 labels and predictions"):
        score(np.array([0, 1]), np.zeros((3, 5), int), 2)


def test_map_up_keeps_the_best_rank_of_each_coarse_class():
    parents = np.array([0, 0, 1, 1, 2])
    found = map_up(np.array([[1, 0, 4, 2, 3], [2, 3, -1, -1, -1]]), parents)
    assert found.tolist() == [[0, 2, 1, -1, -1], [1, -1, -1, -1, -1]]


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
