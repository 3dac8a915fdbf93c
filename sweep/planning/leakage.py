"""The leakage guard: no test image may be in a pretraining, or in the labels that a probe learns from.

Images are compared by their keys, which are hashes of the decoded pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.dataset.draws import Draws
from ssl_sweep.data_ops.dataset.prepared import PreparedDataset
from ssl_sweep.sweep.errors import DamagedError
from ssl_sweep.sweep.planning.datasets import DatasetInfo
from ssl_sweep.sweep.planning.notes import Note
from ssl_sweep.sweep.spec.files import COMPARED
from ssl_sweep.sweep.spec.specs import UNPREPARED
from ssl_sweep.sweep.store.store import Store

Policy = Literal["drop", "report"]


def only_sound(
    catalog: Mapping[str, DatasetInfo], used: Iterable[str], store: Store | None
) -> tuple[dict[str, DatasetInfo], list[Note]]:
    """Check the files that the guard reads of each prepared dataset in ``used``.

    Returns:
        The catalog, in which damaged datasets count as not prepared, and a note on each of them. They are
        prepared again.
    """
    sound: dict[str, DatasetInfo] = dict(catalog)
    notes: list[Note] = []
    for name in sorted(set(used) & set(catalog)):
        info = catalog[name]
        if store is None or not info.prepared:
            continue
        try:
            store.fetch("prepare", info.prepare_id, COMPARED)
        except DamagedError as error:
            store.distrust("prepare", info.prepare_id)
            sound[name] = replace(info, fingerprint=UNPREPARED + info.prepare_id, levels=(), class_counts=())
            text = f"damaged: {name} counts as not prepared: {error}; run prepares it again"
            notes.append(Note("damaged", text))
    return sound, notes


def guard(
    catalog: Mapping[str, DatasetInfo],
    pretrained: Iterable[str],
    evaluated: Iterable[str],
    policy: Policy,
    store: Store | None,
) -> tuple[dict[str, DatasetInfo], list[Note]]:
    """Find test images among the training images of the prepared datasets.

    Datasets that are not prepared cannot be compared yet; ``run`` prepares them and plans again.

    Args:
        catalog: Every dataset of the grid, by name.
        pretrained: Names of the datasets of pretrainings.
        evaluated: Names of the datasets of evaluations.
        policy: ``drop`` leaves such images out; ``report`` only adds a note.
        store: Where prepared datasets are; None compares nothing.

    Returns:
        The catalog with ``avoid`` and ``n_leaked`` of each pretraining dataset, ``copied_classes`` of each
        evaluated one and ``draws`` of both, and the notes.
    """
    if store is None:
        return dict(catalog), []
    prepared = {name: info for name, info in catalog.items() if info.prepared}
    tests = [prepared[name] for name in sorted(set(evaluated)) if name in prepared]
    images = {
        name: Draws(PreparedDataset(store.fetch("prepare", prepared[name].prepare_id, COMPARED) / "data"))
        for name in sorted({*pretrained, *evaluated} & set(prepared))
    }
    guarded: dict[str, DatasetInfo] = {
        name: replace(info, draws=images.get(name)) for name, info in catalog.items()
    }
    notes: list[Note] = []
    for name in sorted(set(pretrained) & set(prepared)):
        info = guarded[name]
        found = {test.name: images[name].leaked(images[test.name]) for test in tests}
        shared = [test for test in tests if found[test.name].any()]
        if not shared:
            continue
        lost = np.logical_or.reduce([found[test.name] for test in shared])
        count = int(lost.sum())
        where = ", ".join(test.name for test in shared)
        done = "left out of pretraining" if policy == "drop" else "kept in pretraining (leakage: report)"
        text = f"leakage: {count:,} training images of {name} are test images of {where}: {done}"
        notes.append(Note("leakage", text))
        if policy == "drop":
            avoid = tuple(sorted({test.fingerprint for test in shared}))
            classes = _by_class(images[name], lost)
            guarded[name] = replace(info, avoid=avoid, n_leaked=count, leaked_classes=classes)
    for test in tests:
        data = images[test.name]
        lost = data.leaked(data)
        copies = _by_class(data, lost) if lost.any() else ()
        if any(copies):
            done = "left out of its label budgets"
            done = done if policy == "drop" else "kept in its label budgets (leakage: report)"
            text = (
                f"leakage: {sum(copies):,} labelled training images of {test.name} are also its test images:"
                f" {done}"
            )
            notes.append(Note("leakage", text))
        if any(copies) and policy == "drop":
            guarded[test.name] = replace(guarded[test.name], copied_classes=copies)
    return guarded, notes


def _by_class(data: Draws, chosen: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    """Number of the chosen training images in each class of the finest level.

    Args:
        data: The dataset.
        chosen: (n_train,) mask.
    """
    labels = data.labels[chosen]
    counts = np.bincount(labels[labels >= 0], minlength=data.data.manifest.n_classes())
    return tuple(int(count) for count in counts)
