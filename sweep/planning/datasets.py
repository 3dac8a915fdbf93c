"""The datasets of a grid, as far as they are known without decoding an image."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ssl_sweep.data_ops.dataset.draws import Draws
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.sources.registry import SourceInfo, inspect
from ssl_sweep.data_ops.sources.remote import is_remote
from ssl_sweep.sweep.errors import Located
from ssl_sweep.sweep.grid.datasets import AnyDataset
from ssl_sweep.sweep.grid.load import Grid
from ssl_sweep.sweep.spec.identity import stage_id
from ssl_sweep.sweep.spec.specs import UNPREPARED, PrepareSpec
from ssl_sweep.sweep.store.manifest import Manifest
from ssl_sweep.sweep.store.store import Store

_ASSUMED = "assumed"
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

    With ``expect``, a dataset whose files are missing has the sizes that its entry expects. These are enough
    to plan, not to run.
    """
    catalog: dict[str, DatasetInfo] = {}
    problems: list[Located] = []
    for name, entry in grid.datasets.items():
        source = entry.value.to_source()
        try:
            info = (_expected(entry.value) if expect else None) or inspect(source)
        except (DataError, OSError) as error:
            keys = [
                key
                for key in (*entry.value.paths, "domain", "name", "group")
                if (*entry.path, key) in grid.source.marks
            ]
            at = [key for key in keys if str(getattr(entry.value, key)) in str(error)] or keys
            path = (*entry.path, at[0]) if at else entry.path
            problems.append(grid.source.problem(path, f"datasets.{name}: {error}"))
            continue
        spec = PrepareSpec(source, entry.value.size, info.signature)
        id = stage_id("prepare", spec)
        manifest = store.complete("prepare", id) if store else None
        if manifest is not None:
            catalog[name] = prepared_info(name, spec, id, manifest)
        else:
            catalog[name] = DatasetInfo(
                name=name,
                prepare=spec,
                prepare_id=id,
                fingerprint=UNPREPARED + id,
                n_train=info.n_train,
                n_test=info.n_test,
                n_unlabeled=info.n_train - getattr(info, "n_labeled", info.n_train),
            )
    return catalog, problems


def _expected(entry: AnyDataset) -> SourceInfo | None:
    """The sizes that the entry expects, if all its files are missing; existing files are inspected."""
    expected = getattr(entry, "expect", None)
    if expected is None:
        return None
    where = str(getattr(entry, entry.paths[0]))
    fixed = _PATTERN.split(where)[0]  # for shards-*.tar, the folder must exist
    if is_remote(where) or (Path(where) if fixed == where else Path(fixed + "x").parent).exists():
        return None
    return SourceInfo(expected.train, expected.test, _ASSUMED, expected.train)


def prepared_info(name: str, spec: PrepareSpec, id: str, manifest: Manifest) -> DatasetInfo:
    """The dataset of a finished prepare stage, from its manifest."""
    outputs: Mapping[str, object] = manifest.outputs
    levels, counts = outputs["levels"], outputs.get("class_counts") or [[]]
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
        n_unlabeled=n_train - (n_train if labeled < 0 else labeled),
    )
