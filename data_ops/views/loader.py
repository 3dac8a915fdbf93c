"""Batches of views, two of each image unless asked otherwise, rendered ahead of the training step in one
background thread.

The order of the images and every view are functions of (seed, epoch, step) alone: a run resumed at any step,
or spread over any number of ranks, sees the same batches.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.hashing import derive_seed, hash64
from ssl_sweep.data_ops.images import ImageArray
from ssl_sweep.data_ops.views.backend import ViewBackend
from ssl_sweep.data_ops.views.policy import sample_params


@dataclass(frozen=True)
class ViewBatch:
    """This rank's part of one global step: views of the same images, each float32 (n, 3, S, S).

    `index` (n,) are the images' positions in the array that the loader was given: where their labels are.
    """

    step: int
    epoch: int
    views: tuple[torch.Tensor, ...]
    index: npt.NDArray[np.int64]

    @property
    def view1(self) -> torch.Tensor:
        """The first view."""
        return self.views[0]

    @property
    def view2(self) -> torch.Tensor:
        """The second view. DataError where the loader makes one."""
        if len(self.views) < 2:
            raise DataError("loader: these batches have one view; ask the loader for n_views=2")
        return self.views[1]


def epoch_permutation(n: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """The order of n images in one epoch: a full permutation, other epochs and seeds being independent."""
    return np.argsort(hash64(derive_seed("order", seed), epoch, np.arange(n)), kind="stable")


class ViewLoader:
    """Feeds rank `rank` of `world` with its contiguous part of each global batch of `batch` images.

    `images` uint8 (N, H, W, 3) may be a memory map or a pool: only those of a batch are read, once each, one
    batch at a time. `keys` uint64 (N,), distinct, name the images to the parameter sampler. With `rows` (n,)
    the training set is these of the images, in this order, and `keys` (n,) are theirs. An epoch is n // batch
    steps of distinct images; the rest sits this epoch out.

    `views` renders them all, `n_views` of each image (2); where the views' policies differ give a list with
    one back end per view. Raises DataError where an epoch would have no step or the ranks cannot share a
    batch evenly.
    """

    def __init__(
        self,
        images: ImageArray,
        keys: npt.NDArray[np.uint64],
        *,
        batch: int,
        seed: int,
        views: ViewBackend | Sequence[ViewBackend],
        rank: int = 0,
        world: int = 1,
        prefetch: int = 2,
        n_views: int | None = None,
        rows: npt.NDArray[np.int64] | None = None,
    ) -> None:
        n = len(images) if rows is None else len(rows)
        if len(keys) != n:
            raise DataError(f"loader: {n} images but {len(keys)} keys; give one key per image")
        if rows is not None and n and not 0 <= rows.min() <= rows.max() < len(images):
            raise DataError(
                f"loader: rows go from {rows.min()} to {rows.max()}, but there are {len(images)} images"
            )
        if not 0 <= rank < world:
            raise DataError(f"loader: rank is {rank} of {world}; use 0 to {world - 1}")
        if batch < 1 or batch % world:
            raise DataError(f"loader: a batch of {batch} cannot be shared evenly by {world} workers")
        if n < batch:
            raise DataError(
                f"loader: {n} images are fewer than one batch of {batch}; use a batch of at most {n}"
            )
        if prefetch < 1:
            raise DataError(f"loader: prefetch is {prefetch}; use 1 or more")
        self.steps_per_epoch = n // batch
        self._images, self._keys, self._rows = images, keys, rows
        self._views = _one_per_view(views, n_views)
        self._batch, self._seed, self._prefetch = batch, seed, prefetch
        share = batch // world
        self._mine = slice(rank * share, (rank + 1) * share)

    def batches(self, first_step: int, last_step: int) -> Iterator[ViewBatch]:
        """Batches of the global steps first_step <= step < last_step, counted over all epochs.

        Up to `prefetch` batches wait ready. An error of the thread is raised here at the step it concerns;
        closing the iterator, or dropping it, ends the thread before it returns.
        """
        ready: queue.Queue[ViewBatch | BaseException | None] = queue.Queue(maxsize=self._prefetch)
        stop = threading.Event()
        thread = threading.Thread(
            target=self._produce, args=(first_step, last_step, ready, stop), name="view-loader", daemon=True
        )
        thread.start()
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            while thread.is_alive():  # it may be waiting for room
                _drain(ready)
                thread.join(timeout=0.01)

    def _produce(
        self,
        first_step: int,
        last_step: int,
        ready: queue.Queue[ViewBatch | BaseException | None],
        stop: threading.Event,
    ) -> None:
        try:
            order, ordered_epoch = np.empty(0, dtype=np.int64), -1
            for step in range(first_step, last_step):
                epoch, position = divmod(step, self.steps_per_epoch)
                if epoch != ordered_epoch:
                    order, ordered_epoch = epoch_permutation(len(self._keys), self._seed, epoch), epoch
                batch = order[position * self._batch : (position + 1) * self._batch]
                ready.put(self._render(step, epoch, batch[self._mine]))
                if stop.is_set():
                    return
            ready.put(None)
        except BaseException as error:  # handed over: the training loop must not wait for ever
            ready.put(error)

    def _render(self, step: int, epoch: int, members: npt.NDArray[np.int64]) -> ViewBatch:
        keys = self._keys[members]
        index = members if self._rows is None else self._rows[members]
        images = self._images[index]
        shape = (images.shape[1], images.shape[2])
        views = tuple(
            backend.render(
                images, sample_params(backend.policy, self._seed, epoch, keys, number, shape=shape)
            )
            for number, backend in enumerate(self._views)
        )
        return ViewBatch(step, epoch, views, index)


def _one_per_view(views: ViewBackend | Sequence[ViewBackend], n_views: int | None) -> tuple[ViewBackend, ...]:
    """The back end of each view: the only one for all of them, or each its own."""
    backends = tuple(views) if isinstance(views, Sequence) else (views,)
    wanted = max(2, len(backends)) if n_views is None else n_views
    if wanted < 1:
        raise DataError(f"loader: n_views is {n_views}; use 1 or more")
    if len(backends) not in (1, wanted):
        raise DataError(f"loader: {wanted} views and {len(backends)} back ends; give one, or one per view")
    return backends * wanted if len(backends) == 1 else backends


def _drain(ready: queue.Queue[ViewBatch | BaseException | None]) -> None:
    while True:
        try:
            ready.get_nowait()
        except queue.Empty:
            return
