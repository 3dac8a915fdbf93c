"""The leakage guard: no test image of an evaluation may be among the images of a pretraining.

Images are compared by their ids, which are hashes of the decoded pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from data_ops.dataset import PreparedDataset
from sweep.catalog import DatasetInfo
from sweep.store import Store

Policy = Literal["drop", "report"]


def guard(
    catalog: Mapping[str, DatasetInfo],
    pretrained: Iterable[str],
    evaluated: Iterable[str],
    policy: Policy,
    store: Store | None,
) -> tuple[dict[str, DatasetInfo], list[str]]:
    """The catalog with each pretraining dataset's `avoid` and `n_leaked` set, and what to tell the user.

    Datasets that are not prepared cannot be compared yet; `run` prepares them and plans again.
    """
    if store is None:
        return dict(catalog), []
    prepared = {name: info for name, info in catalog.items() if info.prepared}
    tests = [prepared[name] for name in sorted(set(evaluated)) if name in prepared]
    guarded, notes = dict(catalog), []
    for name in sorted(set(pretrained) & set(prepared)):
        info = prepared[name]
        shared = [test for test in tests if _leaks(info, (test,), store)[0]]
        if not shared:
            continue
        count, classes = _leaks(info, shared, store)
        where = ", ".join(test.name for test in shared)
        done = "left out of pretraining" if policy == "drop" else "kept in pretraining (leakage: report)"
        notes.append(f"leakage: {count:,} training images of {name} are test images of {where}: {done}")
        if policy == "drop":
            avoid = tuple(sorted({test.fingerprint for test in shared}))
            guarded[name] = replace(info, avoid=avoid, n_leaked=count, leaked_classes=classes)
    return guarded, notes


def _leaks(data: DatasetInfo, tests: Sequence[DatasetInfo], store: Store) -> tuple[int, tuple[int, ...]]:
    """Training images of `data` that are a test image of one of `tests`: all, and those of each class."""
    from data_ops.pool import leaked

    def opened(info: DatasetInfo) -> PreparedDataset:
        return PreparedDataset(store.path("prepare", info.prepare_id) / "data")

    prepared = opened(data)
    found = leaked(prepared, [opened(test) for test in tests])
    if not found.any():
        return 0, ()
    labels = prepared.labels("train")[found]
    classes = np.bincount(labels[labels >= 0], minlength=prepared.manifest.n_classes())
    return int(found.sum()), tuple(int(count) for count in classes)
