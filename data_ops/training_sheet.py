"""A contact sheet of a training: some of its images, what their corruption makes of them, and views."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.contact_sheet import contact_sheet, png_bytes
from ssl_sweep.data_ops.dataset.pool import ImagePool
from ssl_sweep.data_ops.views.policy import ViewPolicy, sample_params
from ssl_sweep.data_ops.views.torch_views import TorchViews

_COLUMNS = 8


def training_sheet(pool: ImagePool, policies: Sequence[ViewPolicy], seed: int) -> bytes:
    """A PNG: columns are images of the pool, rows the clean one, the corrupted one, a view by each policy."""
    index = np.linspace(0, len(pool) - 1, min(_COLUMNS, len(pool))).astype(np.int64)
    rows = {"image": pool.clean(index)}
    if pool.corruption.name != "none":
        rows[pool.corruption.canonical] = pool[index]
    for view, policy in enumerate(policies):
        renderer = TorchViews(policy)
        params = sample_params(policy, seed, 0, pool.keys[index], view, shape=pool.shape[1:3])
        rows[f"view {view + 1}"] = _pixels(renderer.render(pool[index], params).numpy())
    return png_bytes(contact_sheet([list(images) for images in rows.values()], list(rows)))


def _pixels(planes: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """(n, 3, S, S) as the network gets it to (n, S, S, 3): the inverse of (x / 255 - 0.5) / 0.25."""
    return np.clip(np.rint((np.moveaxis(planes, 1, 3) + 2.0) * (255.0 / 4.0)), 0, 255).astype(np.uint8)
