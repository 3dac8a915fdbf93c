"""The leakage guard: no test image of an evaluation may be among the images of a pretraining, nor among those
whose labels it learns from.

Images are compared by their ids, which are hashes of the decoded pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.dataset.pool import leaked
from ssl_sweep.data_ops.dataset.prepared import PreparedDataset
from ssl_sweep.sweep.errors import DamagedError
from ssl_sweep.sweep.planning.datasets import DatasetInfo
from ssl_sweep.sweep.planning.graph import DAMAGED
from ssl_sweep.sweep.spec.specs import UNPREPARED
from ssl_sweep.sweep.store.store import Store

Policy = Literal["drop", "report"]

_COMPARED = (
    "data/dataset.json",
    *(f"data/{s}_{what}.npy" for s in ("train", "test") for what in ("keys", "labels")),
)
"""What is read of a prepared dataset here: not its images."""


def only_sound(
    catalog: Mapping[str, DatasetInfo], used: Iterable[str], store: Store | None
) -> tuple[dict[str, DatasetInfo], list[str]]:
    """The catalog with each dataset as not prepared whose files are not those that were committed, as far as
    the guard reads them, and what to tell the user. Such a preparation is to be done again."""
    sound, notes = dict(catalog), []
    for name in sorted(set(used) & set(catalog)):
        info = catalog[name]
        if store is None or not info.prepared:
            continue
        try:
            store.fetch("prepare", info.prepare_id, _COMPARED)
        except DamagedError as error:
            store.distrust("prepare", info.prepare_id)
            sound[name] = replace(info, fingerprint=UNPREPARED + info.prepare_id, levels=(), class_counts=())
            notes.append(
                f"{DAMAGED}{name} counts as not prepared, since {error}; run prepares it again, and"
                " what rests on it is known then"
            )
    return sound, notes


def guard(
    catalog: Mapping[str, DatasetInfo],
    pretrained: Iterable[str],
    evaluated: Iterable[str],
    policy: Policy,
    store: Store | None,
) -> tuple[dict[str, DatasetInfo], list[str]]:
    """The catalog with each pretraining dataset's `avoid` and `n_leaked`, and each evaluated one's
    `copied_classes` set, and what to tell the user.

    Datasets that are not prepared cannot be compared yet; `run` prepares them and plans again.
    """
    if store is None:
        return dict(catalog), []
    prepared = {name: info for name, info in catalog.items() if info.prepared}
    tests = [prepared[name] for name in sorted(set(evaluated)) if name in prepared]
    images = {
        name: PreparedDataset(store.fetch("prepare", prepared[name].prepare_id, _COMPARED) / "data")
        for name in sorted({*pretrained, *evaluated} & set(prepared))
    }
    guarded, notes = dict(catalog), []
    for name in sorted(set(pretrained) & set(prepared)):
        info = prepared[name]
        found = {test.name: leaked(images[name], [images[test.name]]) for test in tests}
        shared = [test for test in tests if found[test.name].any()]
        if not shared:
            continue
        lost = np.logical_or.reduce([found[test.name] for test in shared])
        count = int(lost.sum())
        where = ", ".join(test.name for test in shared)
        done = "left out of pretraining" if policy == "drop" else "kept in pretraining (leakage: report)"
        notes.append(f"leakage: {count:,} training images of {name} are test images of {where}: {done}")
        if policy == "drop":
            avoid = tuple(sorted({test.fingerprint for test in shared}))
            classes = _by_class(images[name], lost)
            guarded[name] = replace(info, avoid=avoid, n_leaked=count, leaked_classes=classes)
    for test in tests:
        data = images[test.name]
        lost = leaked(data, [data])
        copies = _by_class(data, lost) if lost.any() else ()
        if any(copies):
            done = "left out of its budgets" if policy == "drop" else "kept in its budgets (leakage: report)"
            notes.append(
                f"leakage: {sum(copies):,} labelled training images of {test.name} are its test images too:"
                f" {done}"
            )
        if any(copies) and policy == "drop":
            guarded[test.name] = replace(guarded[test.name], copied_classes=copies)
    return guarded, notes


def _by_class(data: PreparedDataset, chosen: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    """How many of the chosen training images each class of the finest level has."""
    labels = data.labels("train")[chosen]
    counts = np.bincount(labels[labels >= 0], minlength=data.manifest.n_classes())
    return tuple(int(count) for count in counts)
