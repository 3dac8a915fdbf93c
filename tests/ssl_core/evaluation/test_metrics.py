from __future__ import annotations

import math

import numpy as np
import pytest

from ssl_sweep.ssl_core.evaluation.metrics import (
    hits,
    level_predictions,
    level_scores,
    map_up,
    per_class,
    rank_classes,
    score,
)


@pytest.mark.smoke
def test_score_by_hand():
    y = np.array([0, 0, 0, 1, 2])
    top5 = np.array(
        [[0, 1, 2, -1, -1], [0, 2, 1, -1, -1], [1, 0, 2, -1, -1], [1, -1, -1, -1, -1], [0, 1, -1, -1, -1]]
    )
    found = score(y, top5, 4)
    assert (found["top1"], found["top5"], found["n_test"]) == (pytest.approx(3 / 5), pytest.approx(4 / 5), 5)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 0) / 3), "class 3 is not in the test set"
    assert found["top1_std_err"] == pytest.approx(math.sqrt(0.6 * 0.4 / 5))


def test_score_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="outside 0 to 1"):
        score(np.array([0, 2]), np.zeros((2, 5), int), 2)
    with pytest.raises(ValueError, match="2 labels and predictions"):
        score(np.array([0, 1]), np.zeros((3, 5), int), 2)


@pytest.mark.smoke
def test_map_up_keeps_the_best_rank_of_each_coarse_class():
    parents = np.array([0, 0, 1, 1, 2])
    found = map_up(np.array([[1, 0, 4, 2, 3], [2, 3, -1, -1, -1]]), parents)
    assert found.tolist() == [[0, 2, 1, -1, -1], [1, -1, -1, -1, -1]]


@pytest.mark.smoke
def test_counts_of_each_class():
    y = np.array([0, 0, 0, 1, 2])
    top5 = np.array([[0, 1], [0, 2], [1, 0], [1, -1], [0, 2]])
    found = per_class(y, top5, 4)
    assert (found.n_test.tolist(), found.correct.tolist()) == ([3, 1, 1, 0], [2, 1, 0, 0])


@pytest.mark.smoke
@pytest.mark.parametrize("n", [1, 7, 8, 9, 1000])
def test_hits_come_back_as_they_were(n):
    rng = np.random.default_rng(n)
    y, top5 = rng.integers(0, 3, n), rng.integers(0, 3, (n, 5))
    packed = hits(y, top5)
    assert len(packed) == -(-n // 8)
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=n).astype(bool)
    np.testing.assert_array_equal(bits, y == top5[:, 0])


def test_scores_at_the_trained_level_and_above():
    """6 classes in 4 groups in 2 kinds: the way up from the groups follows from that of the classes."""
    parents = [np.array([0, 0, 1, 1, 2, 3]), np.array([0, 0, 1, 1, 1, 0])]
    fine = np.array([0, 1, 2, 5])
    labels = [fine, parents[0][fine], parents[1][fine]]
    n_classes = [6, 4, 2]
    top5 = np.array([[1, 0, 2, 3, 4], [1, 5, 0, 2, 3], [0, 3, 2, -1, -1], [0, -1, -1, -1, -1]])
    every = level_scores(top5, trained=0, labels=labels, parents=parents, n_classes=n_classes)
    assert [found["top1"] for found in every] == [0.25, 0.5, 0.75]
    assert [found["top5"] for found in every] == [0.75, 0.75, 1.0]
    groups = np.array([[0, 3, 1, 2, -1], [3, 0, -1, -1, -1], [2, 1, -1, -1, -1], [1, 0, -1, -1, -1]])
    above = level_predictions(groups, trained=1, parents=parents)
    assert len(above) == 2 and above[1].tolist() == [
        [0, 1, -1, -1, -1],
        [0, -1, -1, -1, -1],
        [1, -1, -1, -1, -1],
        [1, 0, -1, -1, -1],
    ]
    kinds = level_scores(groups, trained=1, labels=labels, parents=parents, n_classes=n_classes)
    assert [found["top1"] for found in kinds] == [0.25, 0.75]
    only = level_scores(np.ones((4, 5), int), trained=2, labels=labels, parents=parents, n_classes=n_classes)
    assert [found["top1"] for found in only] == [0.25]


def test_levels_that_do_not_nest():
    parents = [np.array([0, 0, 1]), np.array([0, 1, 1])]
    with pytest.raises(ValueError, match="class 0 of level 1 lies in two classes of level 2, 0 and 1"):
        level_predictions(np.zeros((1, 5), int), trained=1, parents=parents)
    with pytest.raises(ValueError, match="trained is 3; there are levels 0 to 2"):
        level_predictions(np.zeros((1, 5), int), trained=3, parents=parents)


@pytest.mark.parametrize("classes", [1, 3, 5, 40])
def test_ranks_are_those_of_a_stable_sort(classes):
    scores = np.random.default_rng(0).integers(0, 6, (200, classes)).astype(float)
    scores[0] = np.nan
    scores[1] = -np.inf
    ids = 2 * np.arange(classes) + 1
    expected = ids[np.argsort(-scores, axis=1, kind="stable")[:, :5]]
    found = rank_classes(scores, ids)
    np.testing.assert_array_equal(found[:, : expected.shape[1]], expected)
    assert (found[:, expected.shape[1] :] == -1).all()
