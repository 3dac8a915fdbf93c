"""Batches of views, rendered ahead of the training step in a background thread.

The order of the images and every view depend on (seed, epoch, step) only. So a run that is resumed at any
step, or spread over any number of ranks, sees the same batches.
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
from ssl_sweep.data_ops.views.device_images import DeviceImages
from ssl_sweep.data_ops.views.policy import sample_params


@dataclass(frozen=True)
class ViewBatch:
    """This rank's part of one global step."""

    step: int
    epoch: int
    views: tuple[torch.Tensor, ...]
    """Views of the same images, each float32 (n, 3, S, S)."""
    index: npt.NDArray[np.int64]
    """(n,) positions of the images in the loader's array, with which to look up their labels."""

    @property
    def view1(self) -> torch.Tensor:
        """The first view."""
        return self.views[0]

    @property
    def view2(self) -> torch.Tensor:
        """The second view.

        Raises:
            DataError: The batches have one view.
        """
        if len(self.views) < 2:
            raise DataError("loader: these batches have one view; create the loader with n_views=2")
        return self.views[1]


def epoch_permutation(n: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """The order of n images in one epoch: a permutation, independent of those of other epochs and seeds."""
    return np.argsort(hash64(derive_seed("order", seed), epoch, np.arange(n)), kind="stable")


class ViewLoader:
    """Gives one rank its contiguous part of each global batch.

    An epoch is n // batch steps of distinct images; the remaining images are not used in this epoch.
    """

    def __init__(
        self,
        images: ImageArray | DeviceImages,
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
        """Check the sizes; nothing is read yet.

        Args:
            images: uint8 (N, H, W, 3). Only the images of one batch are read at a time, so it may be a memory
                map or a pool, or on a device.
            keys: uint64 (N,), distinct: the images' keys for ``sample_params``. With ``rows``, (n,).
            batch: Images in a global batch.
            seed: Seeds the order and the views.
            views: The back end for all views, or a list with one back end per view.
            rank: The number of this rank, from 0.
            world: The number of ranks.
            prefetch: How many batches wait ready.
            n_views: Views of each image; 2 by default, or one per back end if there are more.
            rows: (n,) which of the images to train on, in this order; all if None.

        Raises:
            DataError: An epoch would have no step, the ranks cannot share a batch evenly, or sizes do not
                match.
        """
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
            raise DataError(
                f"loader: a batch of {batch} images cannot be shared evenly by {world} workers; "
                f"use a multiple of {world}"
            )
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

        An error in the thread is raised here, at its step. Closing the iterator, or dropping it, first ends
        the thread.
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
            while thread.is_alive():  # it may be waiting for room in the queue
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
            if self._views[0].device.type == "cuda":
                torch.cuda.set_device(self._views[0].device)  # CUDA has a current device for each thread
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
        except BaseException as error:  # passed on, so that the training loop does not wait for ever
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
    """The back end of each view: one for all views, or one per view."""
    backends = tuple(views) if isinstance(views, Sequence) else (views,)
    wanted = max(2, len(backends)) if n_views is None else n_views
    if wanted < 1:
        raise DataError(f"loader: n_views is {n_views}; use 1 or more")
    if len(backends) not in (1, wanted):
        raise DataError(f"loader: {wanted} views but {len(backends)} back ends; give one, or one per view")
    return backends * wanted if len(backends) == 1 else backends


def _drain(ready: queue.Queue[ViewBatch | BaseException | None]) -> None:
    while True:
        try:
            ready.get_nowait()
        except queue.Empty:
            return
