"""Draws are nested, independent of row order, and stratified if requested."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_sweep.data_ops.dataset.subsets import (
    equal_shares,
    given_shares,
    label_budget,
    largest_tail,
    ranking,
    subset,
)
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.hashing import hash64

keys_of = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=60, unique=True).map(
    lambda values: np.array(values, dtype=np.uint64)
)
seeds = st.integers(0, 2**31)


@pytest.mark.smoke
@given(keys_of, seeds, st.data())
def test_every_smaller_subset_lies_in_every_larger_one(keys, seed, data):
    large = data.draw(st.integers(1, len(keys)))
    small = data.draw(st.integers(1, large))
    assert np.array_equal(subset(keys, large, seed)[:small], subset(keys, small, seed))
    assert len(set(subset(keys, large, seed))) == large


@pytest.mark.smoke
@given(keys_of, seeds, st.sampled_from(["uniform", "stratified"]), st.data())
def test_every_smaller_budget_lies_in_every_larger_one_whatever_the_row_order(keys, seed, draw, data):
    labels = np.array(data.draw(st.lists(st.integers(0, 5), min_size=len(keys), max_size=len(keys))))
    n = data.draw(st.integers(1, len(keys)))
    order = np.array(data.draw(st.permutations(range(len(keys)))))
    all_of_it = label_budget(keys, labels, len(keys), seed, draw)
    chosen = label_budget(keys, labels, n, seed, draw)
    assert np.array_equal(all_of_it[:n], chosen)
    shuffled = label_budget(keys[order], labels[order], n, seed, draw)
    assert np.array_equal(keys[order][shuffled], keys[chosen])


@given(keys_of, seeds, st.data())
def test_stratified_counts_differ_by_one_at_most_until_a_class_runs_out(keys, seed, data):
    labels = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(keys), max_size=len(keys))))
    n = data.draw(st.integers(1, len(keys)))
    drawn = np.bincount(labels[label_budget(keys, labels, n, seed, "stratified")], minlength=4)
    available = np.bincount(labels, minlength=4)
    unfinished = drawn[drawn < available]
    assert all(drawn.max() - count <= 1 for count in unfinished)


@given(keys_of, seeds)
def test_ranking_is_a_permutation(keys, seed):
    assert sorted(ranking(keys, seed)) == list(range(len(keys)))


def test_seeds_subsets_and_budgets_are_unrelated_draws():
    keys = np.arange(2000, dtype=np.uint64)
    one, other = set(subset(keys, 500, 0)), set(subset(keys, 500, 1))
    budget = set(label_budget(keys, keys.astype(np.int64) % 5, 500, 0))
    for overlap in (len(one & other), len(one & budget)):
        assert 125 - 50 < overlap < 125 + 50  # a quarter, five standard deviations


def test_a_uniform_draw_is_uniform():
    keys = np.arange(20, dtype=np.uint64)
    hits = np.bincount(np.concatenate([subset(keys, 5, seed) for seed in range(2000)]), minlength=20)
    assert abs(hits - 500).max() < 5 * np.sqrt(2000 * 0.25 * 0.75)


@pytest.mark.parametrize("n", [0, -1, 11])
def test_impossible_sizes_are_refused(n):
    keys = np.arange(10, dtype=np.uint64)
    with pytest.raises(DataError, match="choose 1 to 10"):
        subset(keys, n, 0)
    with pytest.raises(DataError, match="choose 1 to 10"):
        label_budget(keys, np.zeros(10, np.int64), n, 0)


def test_wrong_draw_and_labels_are_refused():
    keys = np.arange(10, dtype=np.uint64)
    with pytest.raises(DataError, match="unknown draw 'random'"):
        label_budget(keys, np.zeros(10, np.int64), 5, 0, "random")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="9 labels for 10 images"):
        label_budget(keys, np.zeros(9, np.int64), 5, 0)


def test_equal_shares():
    assert equal_shares(2000, 3) == (667, 667, 666)
    with pytest.raises(DataError, match="each needs at least one"):
        equal_shares(1, 2)


@given(
    sizes=st.lists(st.integers(2, 60), min_size=1, max_size=8),
    imbalance=st.sampled_from([1.0, 2.0, 10.0, 100.0]),
    seed=st.integers(0, 100),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_long_tails_nest_and_fall_exponentially(sizes, imbalance, seed, data):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    keys = hash64(seed, np.arange(len(labels)))
    most = largest_tail(sizes, imbalance, seed) if imbalance > 1 else len(labels)
    n = data.draw(st.integers(1, most))
    draws = [label_budget(keys, labels, k, seed, imbalance=imbalance) for k in (n, most)]
    assert set(draws[0]) <= set(draws[1]) and len(set(draws[0])) == n
    shuffled = np.random.default_rng(0).permutation(len(keys))
    again = label_budget(keys[shuffled], labels[shuffled], n, seed, imbalance=imbalance)
    assert set(keys[shuffled][again]) == set(keys[draws[0]])
    if imbalance > 1 and len(sizes) > 1:
        counts = np.sort(np.bincount(labels[draws[1]], minlength=len(sizes)))[::-1]
        wanted = imbalance ** (-np.arange(len(sizes)) / (len(sizes) - 1))
        t = (counts[0] + 0.5) / wanted[0]
        assert (np.abs(counts - wanted * t) <= 1.5 + wanted / imbalance).all()
        if most < len(labels):
            with pytest.raises(DataError, match="more of a class than there are"):
                label_budget(keys, labels, most + 1, seed, imbalance=imbalance)


def test_unlabelled_images_are_never_in_a_budget_and_cannot_be_stratified():
    keys = hash64(0, np.arange(100))
    labels = np.where(np.arange(100) % 3 == 0, np.arange(100) % 5, -1)
    drawn = label_budget(keys, labels, 34, 0)
    assert (labels[drawn] >= 0).all()
    with pytest.raises(DataError, match="cannot be drawn from 34"):
        label_budget(keys, labels, 35, 0)
    assert len(subset(keys, 100, 0)) == 100
    with pytest.raises(DataError, match="needs a label for every image"):
        subset(keys, 10, 0, labels=labels, draw="stratified")


def test_shares_add_up():
    assert given_shares(1000, [0.75, 0.25]) == (750, 250)
    assert given_shares(10, [1, 1, 1]) == (4, 3, 3)


def test_the_largest_tail_never_asks_for_more_of_a_class_than_there_are():
    """Sizes whose division by a weight and multiplication by it do not cancel."""
    for sizes in ([14, 26, 4, 5, 7, 10, 37, 19], [14, 26, 4, 5, 7, 10, 38, 19]):
        labels = np.repeat(np.arange(len(sizes)), sizes)
        most = largest_tail(sizes, 10.0, 1)
        drawn = label_budget(hash64(1, np.arange(len(labels))), labels, most, 1, imbalance=10.0)
        assert len(drawn) == most <= len(labels)
