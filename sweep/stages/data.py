"""What stages read: prepared datasets, and the image pool of a pretraining."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ssl_sweep.data_ops.dataset.corruptions import parse_corruption
from ssl_sweep.data_ops.dataset.draws import leaked
from ssl_sweep.data_ops.dataset.pool import ImagePool, Share
from ssl_sweep.data_ops.dataset.prepared import PreparedDataset
from ssl_sweep.data_ops.hashing import derive_seed, hash64
from ssl_sweep.sweep.execution.runtime import Runtime
from ssl_sweep.sweep.spec.specs import PoolPart, PretrainSpec
from ssl_sweep.sweep.store.store import Store

if TYPE_CHECKING:
    from ssl_sweep.ssl_core.training.watch import LabelledSlice

_WATCHED = 384  # images


def open_dataset(runtime: Runtime, store: Store, fingerprint: str) -> PreparedDataset:
    """Open the prepared images with this fingerprint."""
    return PreparedDataset(store.fetch("prepare", runtime.datasets[fingerprint]) / "data")


def training_images(spec: PretrainSpec, runtime: Runtime, store: Store) -> ImagePool:
    """Open the image pool of a pretraining; images come corrupted as the spec asks."""
    shares = [_share(part, runtime, store) for part in spec.parts]
    return ImagePool(shares, parse_corruption(spec.corruption), spec.corruption_seed)


def watched_slice(spec: PretrainSpec, runtime: Runtime, store: Store) -> LabelledSlice | None:
    """Choose up to 384 labelled images to judge the encoder on during training.

    They are training images of the pool's first dataset that are not in the pool, and never test images.

    Returns:
        None if there are fewer than 96 such images.
    """
    from ssl_sweep.ssl_core.training.watch import LabelledSlice

    part = spec.parts[0]
    data = open_dataset(runtime, store, part.fingerprint)
    labels = data.labels("train")
    free = labels >= 0
    share = _share(part, runtime, store)
    free[share.positions()] = False
    free &= ~leaked(data, share.avoid)
    rows = np.flatnonzero(free)
    order = np.argsort(hash64(derive_seed("watched", spec.config.seed), data.keys("train")[rows]))
    chosen = np.sort(rows[order[:_WATCHED]])
    if len(chosen) < _WATCHED // 4:
        return None
    return LabelledSlice(data.images("train")[chosen], labels[chosen])


def _share(part: PoolPart, runtime: Runtime, store: Store) -> Share:
    return Share(
        data=open_dataset(runtime, store, part.fingerprint),
        images=part.images,
        seed=part.subset_seed,
        draw=part.draw,
        imbalance=part.imbalance,
        avoid=[open_dataset(runtime, store, fingerprint) for fingerprint in part.avoid],
        labelled=part.labelled,
    )
