"""Exact copies by id, against a plain dictionary."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssl_sweep.data_ops.dataset.duplicates import (
    find_copies,
    occur_in,
    occurrence,
    pixel_hash,
    without_copy_number,
)
from ssl_sweep.data_ops.dataset.prepared import PreparedDataset
from ssl_sweep.data_ops.preparation.prepare import prepare
from ssl_sweep.data_ops.sources.registry import FolderSource


def some_ids(n: int, distinct: int, seed: int) -> np.ndarray:
    """n ids of ``distinct`` pictures, copies numbered as in a prepared split."""
    drawn = np.random.default_rng(seed).integers(0, distinct, n)
    seen: defaultdict[int, int] = defaultdict(int)
    ids = []
    for picture in drawn.tolist():
        ids.append(f"{picture:032x}" + (f"-{seen[picture]}" if seen[picture] else ""))
        seen[picture] += 1
    return np.array(ids, dtype=np.str_)


@pytest.mark.parametrize(
    "values", [np.array(list("abaa")), np.array([7, 3, 7, 7]), np.array([b"x", b"", b"x", b"x"])]
)
def test_occurrences_count_equal_values_before_each_one(values):
    assert occurrence(values).tolist() == [0, 0, 1, 2]
    assert occurrence(values[:0]).tolist() == []


@pytest.mark.parametrize("seed", range(5))
def test_copies_are_those_of_a_dictionary(seed: int) -> None:
    sets = [
        some_ids(60, 50, seed),
        some_ids(40, 200, seed + 10),
        some_ids(0, 1, 0),
        some_ids(30, 60, seed + 20),
    ]
    places: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for number, ids in enumerate(sets):
        for position, id in enumerate(ids):
            places[id[:32]].append((number, position))
    found = find_copies(sets)
    expected = [tuple(places[id]) for id in sorted(places) if len(places[id]) > 1]
    assert list(found.pictures()) == expected
    for one in range(4):
        lists = [[p for p in picture if p[0] == one] for picture in places.values()]
        assert found.within(one) == sum(len(images) - 1 for images in lists if images)
        for other in set(range(4)) - {one}:
            mine = {id[:32] for id in sets[one]}
            assert found.across(one, other) == sum(id[:32] in mine for id in sets[other])
            assert occur_in(sets[other], sets[one]).tolist() == [id[:32] in mine for id in sets[other]]
    both = [tuple(p for p in picture if p[0] in (0, 3)) for picture in expected]
    assert list(found.pictures(0, 3)) == [picture for picture in both if len(picture) > 1]


def test_nothing_to_find() -> None:
    for sets in ([], [some_ids(0, 1, 0)], [np.array(["a" * 32, "b" * 32])]):
        assert list(find_copies(sets).pictures()) == []
    assert not occur_in(some_ids(3, 9, 0), np.array([], dtype="S32")).any()


def test_a_prepared_split_names_its_copies_by_their_pixels(
    tmp_path: Path, rows: list[tuple[bytes, str, str]], folder: Callable[..., str]
) -> None:
    train, test = [*rows[:8], rows[0], rows[0]], [rows[1], *rows[10:20]]
    source = FolderSource(folder(train, "train"), folder(test, "test"))
    prepare(source, 20, tmp_path / "data")
    data = PreparedDataset(tmp_path / "data")
    found = find_copies([data.ids("train"), data.ids("test")])
    assert (found.within(0), found.within(1), found.across(0, 1)) == (2, 0, 1)
    hashes = [pixel_hash(image) for image in data.images("train")]
    assert hashes == without_copy_number(data.ids("train")).astype(str).tolist()


def test_a_million_ids_take_seconds() -> None:
    rng = np.random.default_rng(0)
    words = rng.integers(0, 256, (1_000_000, 16), dtype=np.uint8)
    ids = np.frombuffer(words.tobytes().hex().encode(), dtype="S32")
    ids = np.concatenate([ids, ids[:10]])
    started = time.process_time()
    assert find_copies([ids, ids[:5]]).within(0) == 10
    assert time.process_time() - started < 10
