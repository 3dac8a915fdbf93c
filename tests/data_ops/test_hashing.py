from __future__ import annotations

import numpy as np
import pytest

from ssl_sweep.data_ops.hashing import derive_seed, hash64, uniform


@pytest.mark.smoke
def test_derived_seeds_depend_on_every_coordinate_its_type_and_the_order() -> None:
    seeds = [
        derive_seed("order", 1),
        derive_seed("order", "1"),
        derive_seed("order", 2),
        derive_seed(1, "order"),
        derive_seed("order", 1, 0),
        derive_seed("order1"),
    ]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.smoke
def test_values_are_frozen() -> None:
    # a change here changes every subset, order and view of every study that exists
    assert derive_seed("views", 0) == 5760340728902452355
    assert int(hash64(1, 2)) == 7770473653916893603
    assert hash64(7, 0, np.arange(3)).tolist() == [
        14018252823445020833,
        5638399712053508172,
        6278134475929719195,
    ]


@pytest.mark.smoke
def test_a_value_depends_on_its_coordinates_alone() -> None:
    keys = np.arange(1000, dtype=np.uint64) * np.uint64(2**50)
    table = hash64(5, 3, keys[:, None], np.arange(40))
    assert table.shape == (1000, 40)
    assert table[17, 23] == hash64(5, 3, keys[17], 23)
    assert np.array_equal(table[100:200, 5], hash64(5, 3, keys[100:200], 5))
    assert np.unique(table).size == table.size


def test_order_of_counters_and_seed_matter() -> None:
    assert hash64(0, 1, 2) != hash64(0, 2, 1)
    assert hash64(1, 2) != hash64(2, 1)
    assert hash64(0, 1) != hash64(0, 1, 0)


def test_negative_counters_and_wide_seeds_are_taken_modulo_64_bits() -> None:
    assert hash64(3, -1) == hash64(3, np.array(2**64 - 1, dtype=np.uint64)) == hash64(3 + 2**64, np.int64(-1))


def test_counters_that_are_no_integers_are_refused() -> None:
    with pytest.raises(TypeError, match="integer counters, not float64"):
        hash64(0, np.array([0.5]))


@pytest.mark.parametrize("coordinate", ["seed", "first", "last"])
def test_flipping_one_input_bit_flips_half_of_the_output_bits(coordinate: str) -> None:
    def value(x: int) -> int:
        return int(
            hash64(
                *((x, 3, 5) if coordinate == "seed" else (3, x, 5) if coordinate == "first" else (3, 5, x))
            )
        )

    flips = [[(value(x) ^ value(x ^ (1 << bit))).bit_count() for bit in range(64)] for x in range(40)]
    assert 31.5 < np.mean(flips) < 32.5
    assert np.abs(np.mean(flips, axis=0) - 32).max() < 4  # standard error 0.6


def test_uniform_is_flat_and_uncorrelated_between_neighbouring_counters() -> None:
    u = uniform(11, 4, np.arange(20000)[:, None], np.arange(6))
    assert u.min() >= 0 and u.max() < 1
    counts = np.stack([np.histogram(column, bins=50, range=(0, 1))[0] for column in u.T])
    chi2 = ((counts - 400) ** 2 / 400).sum(axis=1)
    assert chi2.max() < 95  # 49 degrees of freedom: about 1 in 10,000
    assert np.abs(np.corrcoef(u.T) - np.eye(6)).max() < 0.03
    assert np.abs([np.corrcoef(column[1:], column[:-1])[0, 1] for column in u.T]).max() < 0.03
