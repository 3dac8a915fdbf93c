"""The pool of a pretraining: shares, the leakage guard, corruption on reading."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from ssl_sweep.data_ops.dataset.corruptions import corrupt, parse_corruption
from ssl_sweep.data_ops.dataset.draws import leaked
from ssl_sweep.data_ops.dataset.duplicates import without_copy_number
from ssl_sweep.data_ops.dataset.pool import CorruptedImages, ImagePool, Share
from ssl_sweep.data_ops.dataset.prepared import PreparedDataset
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.preparation.prepare import prepare
from ssl_sweep.data_ops.sources.registry import NpzSource, SyntheticSource

NOISE = parse_corruption("salt-and-pepper-0.2")


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return prepared(SyntheticSource("objects", train=120, test=40), 32, tmp_path_factory.mktemp("objects"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    source = SyntheticSource("scenes", train=50, test=10, size=96)
    return prepared(source, 96, tmp_path_factory.mktemp("scenes"))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    folder = tmp_path_factory.mktemp("many")
    noise = np.random.default_rng(0).integers(0, 256, (5000, 40, 40, 3), dtype=np.uint8)
    np.savez(folder / "x.npz", images=noise)
    return prepared(NpzSource(str(folder / "x.npz")), 40, folder / "prepared")


def prepared(source: object, size: int, folder: Path) -> PreparedDataset:
    prepare(source, size, folder)  # type: ignore[arg-type]
    return PreparedDataset(folder)


def test_a_pool_is_the_same_in_any_order_of_its_parts(objects, tmp_path):
    scenes = prepared(SyntheticSource("scenes", train=60, test=10), 32, tmp_path)
    shares = [Share(data=objects, images=30, seed=1), Share(data=scenes, images=20, seed=1)]
    one, other = ImagePool(shares, NOISE, 0), ImagePool(shares[::-1], NOISE, 0)
    assert one.shape == (50, 32, 32, 3)
    assert np.array_equal(one.keys, other.keys) and (np.diff(one.keys.astype(np.float64)) > 0).all()
    assert np.array_equal(one[:], other[:])
    clean = np.concatenate([s.data.images("train")[s.positions()] for s in shares])
    keys = np.concatenate([s.data.keys("train")[s.positions()] for s in shares])
    assert np.array_equal(one[:], corrupt(clean, keys, NOISE, 0)[np.argsort(keys)])


def test_copies_in_several_datasets_have_keys_of_their_own(objects, tmp_path):
    """Else their views in a batch would be equal bit for bit, and an image its own negative."""
    images = objects.images("train")
    twice = np.concatenate([images[:20], images[:3]])  # three are there twice in this dataset alone

    def stored(name: str, images: np.ndarray) -> PreparedDataset:
        np.savez(tmp_path / f"{name}.npz", images=images, labels=np.arange(len(images)) % 2)
        return prepared(NpzSource(str(tmp_path / f"{name}.npz")), 32, tmp_path / name)

    sets = [stored("a", twice), stored("b", twice[3:]), stored("c", images[10:40])]
    shares = [Share(data=data, images=data.manifest.n_train, seed=0) for data in sets]
    pool, other = ImagePool(shares, NOISE, 0), ImagePool(shares[::-1], NOISE, 0)
    assert len(np.unique(pool.keys)) == len(pool) == 23 + 20 + 30
    assert len(np.unique(without_copy_number(pool.ids()))) == 40
    assert len(np.unique(pool[:], axis=0)) == len(pool), "each copy has a corruption of its own"
    assert np.array_equal(pool.keys, other.keys) and np.array_equal(pool[:], other[:])
    for data in sets:
        assert np.isin(data.keys("train"), pool.keys).all(), "one of the copies keeps its key"


def test_the_ids_say_which_images_a_pool_has(objects):
    pool = ImagePool([Share(data=objects, images=30, seed=1)], NOISE, 0)
    names = objects.ids("train").tolist()
    rows = [names.index(id.decode()) for id in pool.ids()]
    assert np.array_equal(objects.images("train")[rows], pool.clean(np.arange(30)))


def test_the_contained_share_is_the_subset_itself(objects):
    """The in-domain set at the size of its share in a pool holds the pool's images of that domain."""
    small, big = (Share(data=objects, images=n, seed=3).positions() for n in (30, 90))
    assert set(small) < set(big)


def test_large_images_are_read_by_the_batch_and_alike_however_read(large, monkeypatch):
    pool = ImagePool([Share(data=large, images=40, seed=0)], NOISE, 7)
    assert pool._resident is None
    index = np.array([39, 0, 17])
    assert np.array_equal(pool[index], pool[:][index])
    assert np.array_equal(pool[5:9], pool[np.arange(5, 9)])
    read: list[int] = []
    pool._arrays = [_Counting(pool._arrays[0], read)]  # type: ignore[list-item]
    _ = pool[index]
    assert sum(read) == 3


class _Counting:
    def __init__(self, array: np.ndarray, read: list[int]) -> None:
        self._array, self._read = array, read

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        self._read.append(len(index))
        return self._array[index]


@pytest.mark.parametrize("name", ["none", "grayscale", "salt-and-pepper"])
def test_a_pool_in_memory_is_there_once_even_while_it_is_made(many, name):
    kind = parse_corruption(name)
    keys, images = many.keys("train"), many.images("train")
    whole = corrupt(images, keys, kind, 5)[np.argsort(keys)]
    tracemalloc.start()
    pool = ImagePool([Share(data=many, images=len(keys), seed=0)], kind, 5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.4 * images.nbytes
    assert np.array_equal(pool[:], whole)


def test_corrupted_test_images_do_not_depend_on_the_batch(objects):
    images, keys = objects.images("test"), objects.keys("test")
    reader = CorruptedImages(images, keys, NOISE, 0)
    whole = corrupt(images, keys, NOISE, 0)
    assert reader.shape == images.shape and len(reader) == 40
    assert np.array_equal(np.concatenate([reader[i : i + 7] for i in range(0, 40, 7)]), whole)


def leaky(tmp_path: Path, objects: PreparedDataset) -> PreparedDataset:
    """A dataset whose training images hold ten test images of ``objects``, one of them twice."""
    stolen = objects.images("test")[:10]
    own = objects.images("train")[:30] // 2
    np.savez(
        tmp_path / "train.npz", images=np.concatenate([own, stolen, stolen[:1]]), labels=np.arange(41) % 3
    )
    np.savez(tmp_path / "test.npz", images=own[:5] // 2, labels=np.arange(5) % 3)
    source = NpzSource(str(tmp_path / "train.npz"), str(tmp_path / "test.npz"))
    return prepared(source, 32, tmp_path / "prepared")


def test_no_test_image_is_pretrained_on(objects, tmp_path):
    thief = leaky(tmp_path, objects)
    assert leaked(thief, [objects]).sum() == 11
    assert leaked(thief, [thief]).sum() == 0
    pool = ImagePool([Share(data=thief, images=30, seed=0, avoid=(objects,))], NOISE, 0)
    stolen = {image.tobytes() for image in objects.images("test")}
    assert not stolen & {image.tobytes() for image in pool.clean(np.arange(30))}
    with pytest.raises(DataError, match="31 images cannot be drawn from 30"):
        ImagePool([Share(data=thief, images=31, seed=0, avoid=(objects,))], NOISE, 0)


def test_an_avoided_set_changes_nothing_where_nothing_is_shared(objects, large):
    plain, guarded = (
        Share(data=objects, images=60, seed=2, avoid=avoid).positions() for avoid in ((), (large,))
    )
    assert np.array_equal(plain, guarded)


def test_stratified_and_long_tailed_shares_follow_the_labels(objects):
    labels = objects.labels("train")
    even = Share(data=objects, images=40, seed=0, draw="stratified").positions()
    assert np.bincount(labels[even]).max() - np.bincount(labels[even]).min() <= 1
    tail = Share(data=objects, images=30, seed=0, imbalance=5.0).positions()
    counts = np.sort(np.bincount(labels[tail], minlength=labels.max() + 1))
    assert counts[-1] >= 3 * max(1, counts[0])
