from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.hashing import hash64
from ssl_sweep.data_ops.views.backend import ViewBackend
from ssl_sweep.data_ops.views.loader import ViewBatch, ViewLoader, epoch_permutation
from ssl_sweep.data_ops.views.named_policies import named_policy
from ssl_sweep.data_ops.views.policy import ViewParams, sample_params, simclr_policy
from ssl_sweep.data_ops.views.torch_views import TorchViews, pixels_to_input

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
    places = (a.step, a.epoch) == (b.step, b.epoch) and np.array_equal(a.index, b.index)
    return places and all(map(torch.equal, a.views, b.views)) and len(a.views) == len(b.views)


def joined(shares: Sequence[ViewBatch]) -> ViewBatch:
    """The ranks' parts of one step, put together."""
    views = tuple(torch.cat(parts) for parts in zip(*(share.views for share in shares), strict=True))
    return ViewBatch(
        shares[0].step, shares[0].epoch, views, np.concatenate([share.index for share in shares])
    )


class Recording:
    """A back end that notes what it was given instead of rendering it."""

    name = "recording"
    policy = POLICY

    device = torch.device("cpu")

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


@settings(max_examples=10, deadline=None)
@given(
    n=st.integers(4, 60),
    batch=st.sampled_from([4, 8, 12]),
    seed=st.integers(0, 2**63 - 1),
    data=st.data(),
)
def test_any_run_is_the_same_however_it_is_cut(n: int, batch: int, seed: int, data: st.DataObject) -> None:
    """Order, images and views under 1, 2 and 4 ranks, and from any step on, are those of an undisturbed
    run."""
    assume(n >= batch)
    keys = hash64(seed, np.arange(n))
    images = np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    views = TorchViews(simclr_policy(8))

    def batches(first: int, last: int, rank: int = 0, world: int = 1) -> list[ViewBatch]:
        loader = ViewLoader(images, keys, batch=batch, seed=seed, views=views, rank=rank, world=world)
        return list(loader.batches(first, last))

    steps = n // batch
    whole = batches(0, 3 * steps)
    orders = [np.concatenate([b.index for b in whole if b.epoch == epoch]) for epoch in range(3)]
    for epoch, order in enumerate(orders):
        assert len(np.unique(order)) == steps * batch
        assert np.array_equal(order, epoch_permutation(n, seed, epoch)[: steps * batch])
    if steps * batch >= 12:  # of fewer images two orders may well be equal
        assert len({order.tobytes() for order in orders}) == 3
    cut = data.draw(st.integers(0, 3 * steps), label="cut")
    assert all(map(equal, whole[cut:], batches(cut, 3 * steps)))
    for world in (2, 4):
        parts = [batches(cut, 3 * steps, rank, world) for rank in range(world)]
        assert all(equal(one, joined(shares)) for one, *shares in zip(whole[cut:], *parts, strict=True))


def test_positions_lead_to_the_images_of_a_batch() -> None:
    for batch in loader(views=TorchViews(named_policy("evaluation", 16)[0])).batches(0, 7):
        assert batch.index.dtype == np.int64 and batch.index.shape == (BATCH,)
        assert torch.allclose(batch.view1, pixels_to_input(IMAGES[batch.index]), atol=2e-5)


@pytest.mark.parametrize("n_views", [1, 2, 5])
def test_any_number_of_views(n_views: int) -> None:
    for batch, usual in zip(loader(n_views=n_views).batches(3, 6), loader().batches(3, 6), strict=True):
        assert len(batch.views) == n_views
        assert all(map(torch.equal, batch.views, usual.views[:n_views]))  # more views change no other
        assert len({view.numpy().tobytes() for view in batch.views}) == n_views


def test_the_second_of_one_view_is_not_there() -> None:
    batch = next(loader(n_views=1).batches(0, 1))
    assert torch.equal(batch.view1, batch.views[0])
    with pytest.raises(DataError, match="one view; create the loader with n_views=2"):
        _ = batch.view2


def test_a_back_end_for_each_view() -> None:
    policies = named_policy("byol", 16)
    batch = next(loader(views=[TorchViews(policy) for policy in policies]).batches(0, 1))
    for number, policy in enumerate(policies):
        p = sample_params(policy, 0, 0, KEYS[batch.index], number)
        assert torch.equal(batch.views[number], TorchViews(policy).render(IMAGES[batch.index], p))
    one = [TorchViews(POLICY)]
    assert equal(next(loader(views=one).batches(0, 1)), next(loader().batches(0, 1)))
    other_size: Sequence[ViewBackend] = [TorchViews(simclr_policy(size)) for size in (16, 16, 8)]
    shapes = [view.shape[-1] for view in next(loader(views=other_size).batches(0, 1)).views]
    assert shapes == [16, 16, 8]


def test_rows_choose_the_images() -> None:
    rows = np.random.default_rng(5).permutation(N)[:20]
    chosen = ViewLoader(IMAGES, KEYS[rows], rows=rows, batch=5, seed=3, views=TorchViews(POLICY))
    copied = ViewLoader(IMAGES[rows], KEYS[rows], batch=5, seed=3, views=TorchViews(POLICY))
    for a, b in zip(chosen.batches(0, 9), copied.batches(0, 9), strict=True):
        assert all(map(torch.equal, a.views, b.views))
        assert np.array_equal(a.index, rows[b.index])


class Counting:
    """Images on disk that note which of them were asked for."""

    shape, dtype = IMAGES.shape, IMAGES.dtype

    def __init__(self) -> None:
        self.asked: list[npt.NDArray[np.int64]] = []

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        self.asked.append(index)
        return IMAGES[index]


def test_only_the_images_of_a_batch_are_read() -> None:
    stored = Counting()
    one = ViewLoader(stored, KEYS, batch=BATCH, seed=0, views=TorchViews(POLICY), rank=1, world=2)
    batches = list(one.batches(0, 8))
    assert [index.tolist() for index in stored.asked] == [batch.index.tolist() for batch in batches]
    assert {len(index) for index in stored.asked} == {BATCH // 2}


@pytest.mark.skipif(sys.platform != "linux", reason="reads the process's memory from /proc")
def test_memory_stays_bounded_over_a_map_larger_than_the_machine(tmp_path: Path) -> None:
    n, size = 1_000_000, 224  # 150 GB, of which only the rows written take room on disk
    pixels = np.lib.format.open_memmap(tmp_path / "images.npy", "w+", np.uint8, (n, size, size, 3))
    rows = np.random.default_rng(0).choice(n, 256, replace=False)
    pixels[rows[:4]] = 200
    del pixels
    stored = np.load(tmp_path / "images.npy", mmap_mode="r")
    views = TorchViews(named_policy("evaluation", size)[0])
    loader = ViewLoader(stored, rows.astype(np.uint64), rows=rows, batch=16, seed=0, views=views, n_views=1)
    next(loader.batches(0, 1))
    before = own_memory()
    seen = {int(i): view.mean() for batch in loader.batches(0, 16) for i, view in batch_rows(batch)}
    assert own_memory() - before < 150e6  # three batches in flight are 30 MB
    assert len(seen) == 256
    assert {i for i, level in seen.items() if level > 0} == set(rows[:4].tolist())


def own_memory() -> float:
    """Bytes of this process that are not pages of files."""
    resident, shared = Path(f"/proc/{os.getpid()}/statm").read_text().split()[1:3]
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def batch_rows(batch: ViewBatch) -> list[tuple[np.int64, torch.Tensor]]:
    return list(zip(batch.index, batch.view1, strict=True))


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
        assert equal(one, joined(shares))


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
        ({"world": 3}, "a batch of 8 images cannot be shared evenly by 3 workers"),
        ({"rank": 2, "world": 2}, "rank is 2 of 2"),
        ({"batch": 0}, "a batch of 0"),
        ({"prefetch": 0}, "prefetch is 0"),
        ({"n_views": 0}, "n_views is 0"),
        ({"n_views": 3, "views": [TorchViews(POLICY)] * 2}, "3 views but 2 back ends"),
        ({"views": []}, "2 views but 0 back ends"),
        ({"rows": np.arange(N) + 1}, "rows go from 1 to 45, but there are 45 images"),
        ({"rows": np.arange(N - 1)}, "44 images but 45 keys"),
    ],
)
def test_impossible_sizes_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        loader(**change)  # type: ignore[arg-type]


def test_one_key_per_image_is_asked_for() -> None:
    with pytest.raises(DataError, match="45 images but 44 keys"):
        ViewLoader(IMAGES, KEYS[1:], batch=8, seed=0, views=TorchViews(POLICY))
