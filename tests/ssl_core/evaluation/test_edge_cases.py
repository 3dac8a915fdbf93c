"""Budgets and features at their limits: a defined result or a clear error."""

from __future__ import annotations

import numpy as np
import pytest
from probe_case import CLASSES, CONFIG, DIM, features, probe

from ssl_sweep.ssl_core.evaluation.linear import LinearProbes
from ssl_sweep.ssl_core.evaluation.metrics import score
from ssl_sweep.ssl_core.evaluation.strength import FIXED_C


def test_a_budget_that_misses_classes_predicts_in_the_full_label_set():
    (x, y), (x_test, y_test) = features(200, 0), features(100, 1)
    kept = np.isin(y, [1, 4, 6])
    fit = probe(x[kept], y[kept], x_test)
    assert fit.missing_classes == (0, 2, 3, 5)
    assert set(np.unique(fit.top5[:, :3])) == {1, 4, 6} and (fit.top5[:, 3:] == -1).all()
    known = np.isin(y_test, [1, 4, 6])
    assert (fit.top5[known, 0] == y_test[known]).mean() > 0.6
    assert score(y_test, fit.top5, CLASSES)["top5"] == pytest.approx(known.mean()), (
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


def test_three_images():
    x, _ = features(3, 0)
    fit = probe(x, np.array([4, 1, 4]), x)
    assert fit.C == FIXED_C and set(fit.top5[:, 0]) <= {1, 4} and fit.missing_classes == (0, 2, 3, 5, 6)
    each = probe(x, np.array([4, 1, 2]), x)
    assert each.top5[:, 0].tolist() == [4, 1, 2]


def test_one_test_image_is_judged_as_among_many():
    (x, y), (x_test, _) = features(100, 0), features(40, 1)
    np.testing.assert_array_equal(probe(x, y, x_test[7:8]).top5, probe(x, y, x_test).top5[7:8])


def test_rows_that_occur_twice_weigh_twice():
    """Copies with other labels too: the objective is the one of the repeated rows, no more."""
    (x, y), (x_test, _) = features(60, 0), features(40, 1)
    config = type(CONFIG)(cs=(0.01,))
    once = probe(x, y, x_test, config=type(CONFIG)(cs=(0.02,)))
    twice = probe(np.repeat(x, 2, axis=0), np.repeat(y, 2), x_test, config=config)
    assert (once.top5[:, 0] == twice.top5[:, 0]).mean() > 0.95
    alike = probe(np.repeat(x[:1], 60, axis=0), y, x_test)
    assert (alike.top5[:, 0] == np.bincount(y).argmax()).all()


def test_rows_out_of_range():
    x, y = features(20, 0)
    with pytest.raises(ValueError, match="rows run from 3 to 20; there are 20 features"):
        LinearProbes(x, x).fit(np.array([3, 20]), y[:2], n_classes=CLASSES, seed=0, config=CONFIG)
