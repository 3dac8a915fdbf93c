from __future__ import annotations

import gc
import threading
import time

import numpy as np
import numpy.typing as npt
import pytest
import torch

from data_ops.errors import DataError
from data_ops.loader import ViewBatch, ViewLoader, epoch_permutation
from data_ops.torch_views import TorchViews
from data_ops.views import ViewParams, simclr_policy

N, BATCH = 45, 8
KEYS = np.random.default_rng(1).permutation(10_000)[:N].astype(np.uint64)
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 16, 16, 3), dtype=np.uint8)
POLICY = simclr_policy(16)


def loader(rank: int = 0, world: int = 1, seed: int = 0, prefetch: int = 2, **change: object) -> ViewLoader:
    arguments = {"batch": BATCH, "views": TorchViews(POLICY), **change}
    return ViewLoader(IMAGES, KEYS, seed=seed, rank=rank, world=world, prefetch=prefetch, **arguments)  # type: ignore[arg-type]


def loader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "view-loader"]


def equal(a: ViewBatch, b: ViewBatch) -> bool:
    places = (a.step, a.epoch) == (b.step, b.epoch)
    return places and torch.equal(a.view1, b.view1) and torch.equal(a.view2, b.view2)


class Recording:
    """A back end that notes what it was given instead of rendering it."""

    name = "recording"
    policy = POLICY

    def __init__(self, fail_at: int | None = None, delay: float = 0.0) -> None:
        self.images: list[npt.NDArray[np.uint8]] = []
        self.fail_at, self.delay = fail_at, delay

    def render(self, images: npt.NDArray[np.uint8], params: ViewParams) -> torch.Tensor:
        if self.fail_at is not None and len(self.images) // 2 == self.fail_at:
            raise OSError("the disk is gone")
        time.sleep(self.delay)
        self.images.append(images)
        return torch.zeros(len(images))

    def close(self) -> None: ...


def test_permutations_are_full_and_differ_by_epoch_and_seed() -> None:
    orders = [epoch_permutation(1000, seed, epoch) for seed, epoch in [(0, 0), (0, 1), (1, 0)]]
    for order in orders:
        assert np.array_equal(np.sort(order), np.arange(1000))
    for a, b in [(0, 1), (0, 2), (1, 2)]:
        ranks = np.argsort(orders[a]), np.argsort(orders[b])
        assert abs(np.corrcoef(*ranks)[0, 1]) < 0.1
    assert np.array_equal(orders[1], epoch_permutation(1000, 0, 1))


def test_an_epoch_covers_its_batches_with_distinct_images() -> None:
    views = Recording()
    steps = loader(views=views).steps_per_epoch
    assert steps == N // BATCH == 5
    seen = list(loader(views=views).batches(0, 3 * steps))
    assert [(b.step, b.epoch) for b in seen] == [(t, t // steps) for t in range(3 * steps)]
    epochs = np.concatenate(views.images[::2]).reshape(3, steps * BATCH, -1)
    for epoch in epochs:
        assert len(np.unique(epoch, axis=0)) == steps * BATCH
    sets = [{row.tobytes() for row in epoch} for epoch in epochs]
    assert sets[0] != sets[1] != sets[2]  # who sits an epoch out changes
    assert np.array_equal(np.concatenate(views.images[1::2]), np.concatenate(views.images[::2]))


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_together_see_what_one_worker_sees(world: int) -> None:
    whole = list(loader().batches(3, 12))
    parts = [list(loader(rank, world).batches(3, 12)) for rank in range(world)]
    assert len(whole) == 9
    for one, shares in zip(whole, zip(*parts, strict=True), strict=True):
        assert all(len(share.view1) == BATCH // world for share in shares)
        joined = ViewBatch(
            shares[0].step,
            shares[0].epoch,
            torch.cat([share.view1 for share in shares]),
            torch.cat([share.view2 for share in shares]),
        )
        assert equal(one, joined)


def test_resuming_in_an_epoch_gives_the_remaining_batches_bit_for_bit() -> None:
    undisturbed = list(loader().batches(0, 14))
    resumed = list(loader(prefetch=1).batches(7, 14))
    assert all(equal(a, b) for a, b in zip(undisturbed[7:], resumed, strict=True))
    assert not any(torch.equal(b.view1, b.view2) for b in undisturbed)
    assert not equal(undisturbed[0], next(loader(seed=1).batches(0, 1)))


def test_the_two_views_are_of_the_same_images_and_differ_between_epochs() -> None:
    one_batch = loader(batch=N)
    first, second = one_batch.batches(0, 2)
    back = [np.argsort(epoch_permutation(N, 0, epoch)) for epoch in (0, 1)]
    # the same image keeps more of its colour from view to view than it shares with the others
    means1, means2 = (v[back[0]].mean((2, 3)) for v in (first.view1, first.view2))
    assert (means1 - means2).norm(dim=1).mean() < 1.5
    assert not torch.equal(first.view1[back[0]], second.view1[back[1]])


def test_an_error_in_the_thread_surfaces_at_its_step() -> None:
    batches = loader(views=Recording(fail_at=3)).batches(0, 10)
    assert [next(batches).step for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(batches)
    assert not loader_threads()


@pytest.mark.parametrize("ending", ["close", "drop", "end", "error"])
def test_the_thread_ends_with_the_iterator(ending: str) -> None:
    batches = loader(views=Recording(delay=0.002)).batches(0, 4 if ending == "end" else 10_000)
    next(batches)
    assert len(loader_threads()) == 1
    if ending == "close":
        batches.close()  # type: ignore[attr-defined]
    elif ending == "drop":
        del batches
        gc.collect()
    elif ending == "end":
        assert len(list(batches)) == 3
    else:
        with pytest.raises(KeyError):
            batches.throw(KeyError("training failed"))  # type: ignore[attr-defined]
    assert not loader_threads()


def test_it_runs_ahead_by_prefetch_and_no_further() -> None:
    views = Recording()
    batches = loader(views=views, prefetch=3).batches(0, 100)
    next(batches)
    deadline = time.monotonic() + 5
    while len(views.images) < 2 * 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(views.images) == 2 * 5  # one taken, three waiting, one in hand
    batches.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": N + 1}, "45 images are fewer than one batch of 46; use a batch of at most 45"),
        ({"world": 3}, "a batch of 8 cannot be shared evenly by 3 workers"),
        ({"rank": 2, "world": 2}, "rank is 2 of 2"),
        ({"batch": 0}, "a batch of 0"),
        ({"prefetch": 0}, "prefetch is 0"),
    ],
)
def test_impossible_sizes_are_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        loader(**change)  # type: ignore[arg-type]


def test_one_key_per_image_is_asked_for() -> None:
    with pytest.raises(DataError, match="45 images but 44 keys"):
        ViewLoader(IMAGES, KEYS[1:], batch=8, seed=0, views=TorchViews(POLICY))
