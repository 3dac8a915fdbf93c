"""The datasets of a grid, as far as they are known without decoding an image."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ssl_sweep.data_ops.dataset.draws import Draws
from ssl_sweep.data_ops.dataset.passed_over import PassedOver
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.sources.registry import SourceInfo, inspect, name_of
from ssl_sweep.data_ops.sources.remote import is_remote
from ssl_sweep.sweep.errors import Located
from ssl_sweep.sweep.grid.datasets import AnyDataset
from ssl_sweep.sweep.grid.load import Entry, Grid
from ssl_sweep.sweep.spec.identity import spec_difference, stage_id
from ssl_sweep.sweep.spec.specs import UNPREPARED, PrepareSpec
from ssl_sweep.sweep.store.manifest import Manifest
from ssl_sweep.sweep.store.store import Store

_ASSUMED = "assumed"
_GONE = "none of its images exists"
_PATTERN = re.compile(r"[*?\[{]")


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """A dataset by its name in the grid.

    Before it is prepared, the counts are those of its source, the fingerprint stands for the prepare stage,
    and ``levels`` and ``class_counts`` are empty.
    """

    name: str
    prepare: PrepareSpec
    prepare_id: str
    fingerprint: str
    n_train: int
    n_test: int
    levels: tuple[str, ...] = ()
    """Names of the label levels, finest first."""
    class_counts: tuple[int, ...] = ()
    """Training images of each class of the finest level."""
    n_unlabeled: int = 0
    """Training images without a label."""
    n_leaked: int = 0
    """Training images that are test images of the datasets in ``avoid``: no pretraining may use them."""
    leaked_classes: tuple[int, ...] = ()
    """The labelled ones among them, by class of the finest level."""
    avoid: tuple[str, ...] = ()
    """Fingerprints of the datasets whose test images were found; see ``planning.leakage``."""
    n_classes: int = 0
    """Classes of the finest level that have a training image; 0 if it is unknown."""
    unread: str = ""
    """Why its images cannot be read now; if it is prepared, what the store has of them is used."""
    passed_over: tuple[PassedOver, ...] = ()
    """What was found beside the images and is not read."""
    copied_classes: tuple[int, ...] = ()
    """Labelled training images that are test images of this dataset, by class: no label budget has them."""
    draws: Draws | None = field(default=None, compare=False, repr=False)
    """Its images and labels; None if they are not at hand."""

    @property
    def order(self) -> tuple[int, str, str]:
        """Its place in a pool, which no label changes."""
        return self.draws.first_key if self.draws else 0, self.fingerprint, self.name

    @property
    def assumed(self) -> bool:
        """Whether its files are missing and the sizes are those of the entry's ``expect``."""
        return self.prepare.signature == _ASSUMED

    @property
    def prepared(self) -> bool:
        """Whether the store has its prepared images."""
        return not self.fingerprint.startswith(UNPREPARED)

    @property
    def n_labeled(self) -> int:
        """Training images that a label budget can draw from."""
        return self.n_train - self.n_unlabeled - sum(self.copied_classes)

    @property
    def label_counts(self) -> tuple[int, ...]:
        """``class_counts`` of the images that a label budget can draw from."""
        return _less(self.class_counts, self.copied_classes)

    @property
    def n_free(self) -> int:
        """Training images that a pretraining can draw from."""
        return self.n_train - self.n_leaked

    @property
    def n_free_labeled(self) -> int:
        """Training images that a supervised pretraining can draw from."""
        return self.n_train - self.n_unlabeled - sum(self.leaked_classes)

    @property
    def free_class_counts(self) -> tuple[int, ...]:
        """``class_counts`` without the leaked images."""
        return _less(self.class_counts, self.leaked_classes)

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return self.prepare.size


def _less(counts: tuple[int, ...], gone: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(have - less for have, less in zip(counts, gone or (0,) * len(counts), strict=True))


def read_catalog(
    grid: Grid, store: Store | None, *, expect: bool = False
) -> tuple[dict[str, DatasetInfo], list[Located]]:
    """Every dataset of ``grid`` that can be read, by name, and the problems of the others.

    With ``expect``, a dataset whose images cannot be read is as it was prepared last in the store. One that
    was never prepared, and whose files are missing, has the sizes that its entry expects. Both are enough to
    plan, not to run.
    """
    catalog: dict[str, DatasetInfo] = {}
    problems: list[Located] = []
    for name, entry in grid.datasets.items():
        kept = store if expect else None
        try:
            catalog[name] = _read(name, entry.value, store, expect)
        except (DataError, OSError) as error:
            stored = _stored(name, entry.value, kept, str(error))
            if stored is not None:
                catalog[name] = stored
            else:
                problems.append(_unreadable(grid, name, entry, str(error)))
            continue
        if catalog[name].assumed or catalog[name].unread:
            catalog[name] = _stored(name, entry.value, kept, _GONE) or catalog[name]
    return catalog, problems


def _unreadable(grid: Grid, name: str, entry: Entry[AnyDataset], error: str) -> Located:
    """The problem of a dataset, at the key whose value the error names."""
    keys = [
        key
        for key in (*entry.value.paths, "domain", "name", "group")
        if (*entry.path, key) in grid.source.marks
    ]
    named = [key for key in keys if str(getattr(entry.value, key)) in error]
    # One path may be the beginning of another one; if train and test are the same, test is wrong
    at = max(reversed(named), key=lambda key: len(str(getattr(entry.value, key))), default=(keys or [""])[0])
    path = (*entry.path, at) if at else entry.path
    return replace(grid.source.problem(path, error), dataset=name)


def _read(name: str, entry: AnyDataset, store: Store | None, expect: bool) -> DatasetInfo:
    """A dataset from its files.

    Raises:
        DataError: it cannot be read, or none of its images exists although ``expect`` is false.
    """
    source = entry.to_source()
    info = (_expected(entry) if expect else None) or inspect(source)
    spec = PrepareSpec(source, entry.size, info.signature)
    id = stage_id("prepare", spec)
    manifest = store.complete("prepare", id) if store else None
    if manifest is not None:
        return replace(prepared_info(name, spec, id, manifest), passed_over=info.passed_over)
    if info.gone and not expect:
        raise DataError(f"{name_of(source)}: none of the listed images exists; correct their paths")
    return DatasetInfo(
        name=name,
        prepare=spec,
        prepare_id=id,
        fingerprint=UNPREPARED + id,
        n_train=info.n_train,
        n_test=info.n_test,
        n_unlabeled=info.n_train - info.n_labeled,
        n_classes=info.n_classes,
        passed_over=info.passed_over,
        unread=_GONE if info.gone else "",
    )


def _stored(name: str, entry: AnyDataset, store: Store | None, why: str) -> DatasetInfo | None:
    """The dataset as it was prepared last from the same source at the same size; None if it never was."""
    found: list[tuple[str, DatasetInfo]] = []
    for manifest in store.manifests("prepare") if store else ():
        spec = PrepareSpec(entry.to_source(), entry.size, str(manifest.spec.get("signature")))
        if not spec_difference(manifest.spec, spec) and store and store.complete("prepare", manifest.id):
            found.append((manifest.run.ended, prepared_info(name, spec, manifest.id, manifest)))
    if not found:
        return None
    ended, info = max(found, key=lambda one: one[0])
    return replace(info, unread=f"{why}; the copy that was prepared on {ended[:10]} is used")


def _expected(entry: AnyDataset) -> SourceInfo | None:
    """The sizes that the entry expects, if all its files are missing; existing files are inspected."""
    expected = getattr(entry, "expect", None)
    if expected is None:
        return None
    where = name_of(entry.to_source())
    fixed = _PATTERN.split(where)[0]  # for shards-*.tar, the folder must exist
    if is_remote(where) or (Path(where) if fixed == where else Path(fixed + "x").parent).exists():
        return None
    return SourceInfo(expected.train, expected.test, _ASSUMED, expected.train)


def prepared_info(name: str, spec: PrepareSpec, id: str, manifest: Manifest) -> DatasetInfo:
    """The dataset of a finished prepare stage, from its manifest."""
    outputs: Mapping[str, object] = manifest.outputs
    levels, counts = outputs["levels"], outputs.get("class_counts") or [[]]
    passed_over: Any = outputs.get("passed_over") or ()
    assert isinstance(levels, list | tuple) and isinstance(counts, list | tuple)
    n_train = int(str(outputs["n_train"]))
    labeled = int(str(outputs.get("n_labeled", n_train)))
    return DatasetInfo(
        name=name,
        prepare=spec,
        prepare_id=id,
        fingerprint=str(outputs["fingerprint"]),
        n_train=n_train,
        n_test=int(str(outputs["n_test"])),
        levels=tuple(map(str, levels)),
        class_counts=tuple(counts[0]),
        n_classes=sum(count > 0 for count in counts[0]),
        passed_over=tuple(PassedOver(**one) for one in passed_over),
        n_unlabeled=n_train - (n_train if labeled < 0 else labeled),
    )
