"""What stages read: prepared datasets, and the pool of a pretraining."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ssl_sweep.data_ops.dataset.corruptions import parse_corruption
from ssl_sweep.data_ops.dataset.pool import ImagePool, Share, leaked
from ssl_sweep.data_ops.dataset.prepared import PreparedDataset
from ssl_sweep.data_ops.hashing import derive_seed, hash64
from ssl_sweep.sweep.execution.runtime import Runtime
from ssl_sweep.sweep.spec.specs import PoolPart, PretrainSpec
from ssl_sweep.sweep.store.store import Store

if TYPE_CHECKING:
    from ssl_sweep.ssl_core.training.watch import LabelledSlice

_WATCHED = 384


def open_dataset(runtime: Runtime, store: Store, fingerprint: str) -> PreparedDataset:
    """The prepared images of a fingerprint."""
    return PreparedDataset(store.fetch("prepare", runtime.datasets[fingerprint]) / "data")


def training_images(spec: PretrainSpec, runtime: Runtime, store: Store) -> ImagePool:
    """The pool of a pretraining, decoded and corrupted."""
    shares = [_share(part, runtime, store) for part in spec.parts]
    return ImagePool(shares, parse_corruption(spec.corruption), spec.corruption_seed)


def watched_slice(spec: PretrainSpec, runtime: Runtime, store: Store) -> LabelledSlice | None:
    """Up to 384 labelled training images of the pool's first dataset that are not in the pool, to watch the
    training by; None where there are too few. They are no test images."""
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
