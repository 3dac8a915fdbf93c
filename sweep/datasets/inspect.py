"""``ssl-sweep data inspect``: the facts of one dataset, from its prepared copy or else from its source."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.dataset.duplicates import find_copies
from ssl_sweep.data_ops.dataset.holdout import LEFT_OUT
from ssl_sweep.data_ops.dataset.passed_over import PassedOver, together
from ssl_sweep.data_ops.dataset.prepared import SPLITS, PreparedDataset, Split
from ssl_sweep.data_ops.dataset.subsets import ranking
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.preparation.scan import scan
from ssl_sweep.data_ops.sources.registry import Source, iterate, levels_of
from ssl_sweep.sweep.datasets.commands import (
    Document,
    OnProgress,
    open_prepared,
    read_datasets,
    require_known,
)
from ssl_sweep.sweep.errors import SweepError
from ssl_sweep.sweep.planning.datasets import DatasetInfo
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.util.cores import cores
from ssl_sweep.sweep.util.files import whole

_ENDS = 5  # how many of the largest and of the smallest classes are shown
_LOOKED_AT = 64  # how many images of a prepared dataset's source are read for their sizes
_SHEET_ROWS, _SHEET_COLUMNS = 12, 10


@dataclass(frozen=True)
class SplitFacts:
    """Counts of a split. ``copies``: images that repeat an earlier one. ``groups``: scenes or patients."""

    name: str
    images: int
    unlabelled: int
    copies: int
    groups: int


@dataclass(frozen=True)
class LevelFacts:
    """The classes of a level, with the numbers of training images of the largest and smallest.

    ``empty``: classes without a training image. ``imbalance``: images of the largest class over those of the
    smallest class that has any.
    """

    level: str
    classes: int
    empty: int
    largest: tuple[tuple[str, int], ...]
    smallest: tuple[tuple[str, int], ...]
    imbalance: float


@dataclass(frozen=True)
class SizeFacts:
    """Widths and heights in pixels before resizing; ``images`` is how many were read."""

    images: int
    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Inspection(Document):
    """The facts of a dataset. ``shared``: test images whose pixels also occur in the training split."""

    name: str
    source: str
    size: int
    prepared: bool
    fingerprint: str
    splits: tuple[SplitFacts, ...]
    levels: tuple[LevelFacts, ...]
    sizes: SizeFacts | None
    shared: int
    skipped: tuple[str, ...]
    passed_over: tuple[PassedOver, ...]


@dataclass(frozen=True)
class _Content:
    """What both ways of reading give: ids by split, training images by level and class, …."""

    ids: list[npt.NDArray[np.bytes_] | npt.NDArray[np.str_]]
    unlabelled: list[int]
    groups: list[int]
    counts: tuple[dict[str, int], ...]
    sizes: npt.NDArray[np.int64]
    skipped: tuple[str, ...]
    passed_over: tuple[PassedOver, ...]
    fingerprint: str = ""


def inspect_dataset(
    path: Path,
    overrides: Iterable[str],
    store_uri: str,
    name: str,
    samples: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Inspection:
    """The facts of one dataset. If it is not prepared, it is read from its source, which takes longer.

    Args:
        path: the grid file.
        overrides: ``key=value`` changes to it.
        store_uri: where results are kept.
        name: the dataset.
        samples: a PNG file to write some of the prepared images to.
        on_progress: called with the progress.

    Raises:
        SweepError: the grid has no such dataset, it cannot be read, or ``samples`` is given and it is not
            prepared.
    """
    store = Store(store_uri)
    source, kind, info = _find(path, overrides, store, name)
    if samples is not None:
        _save_samples(name, open_prepared(info, store, path), samples)
    prepared = store.complete("prepare", info.prepare_id) is not None
    if prepared:
        content = _from_prepared(open_prepared(info, store, path), source)
    else:
        content = _from_source(
            source, lambda done: on_progress(name, done, info.n_train + info.n_test) if on_progress else None
        )
    copies = find_copies(content.ids)
    facts = zip(SPLITS, content.ids, content.unlabelled, content.groups, strict=True)
    return Inspection(
        name=name,
        source=kind,
        size=info.size,
        prepared=prepared,
        fingerprint=content.fingerprint,
        splits=tuple(
            SplitFacts(split, len(ids), unlabelled, copies.within(i), groups)
            for i, (split, ids, unlabelled, groups) in enumerate(facts)
        ),
        levels=tuple(
            _level_facts(level, counts)
            for level, counts in zip(levels_of(source), content.counts, strict=False)
        ),
        sizes=_size_facts(content.sizes),
        shared=copies.across(0, 1),
        skipped=content.skipped,
        passed_over=content.passed_over,
    )


def _save_samples(name: str, data: PreparedDataset, output: Path) -> None:
    """Write some training images of the largest classes, one row per class."""
    from ssl_sweep.data_ops.contact_sheet import contact_sheet, png_bytes

    images, labels, order = data.images("train"), data.labels("train"), ranking(data.keys("train"), 0)
    counts = Counter(labels.tolist())
    rows = [order[labels[order] == label][:_SHEET_COLUMNS] for label, _ in counts.most_common(_SHEET_ROWS)]
    names = data.manifest.class_names[0]
    sheet = contact_sheet(
        [[images[row] for row in chosen] for chosen in rows],
        [
            f"{names[label] if label >= 0 else 'no label'}\n{n:,}"
            for label, n in counts.most_common(_SHEET_ROWS)
        ],
        title=f"{name}: training images by {data.manifest.levels[0]}, {data.manifest.size} px",
    )
    try:
        with whole(output) as partial:
            partial.write_bytes(png_bytes(sheet))
    except OSError as error:
        raise SweepError(f"{output} cannot be written: {error.strerror or error}") from error


def _find(path: Path, overrides: Iterable[str], store: Store, name: str) -> tuple[Source, str, DatasetInfo]:
    grid, catalog, unreadable = read_datasets(path, overrides, store)
    require_known(grid, name)
    if name in unreadable:
        raise SweepError(f"{name}: {unreadable[name]}")
    entry = grid.datasets[name].value
    return entry.to_source(), entry.source, catalog[name]


def _from_prepared(data: PreparedDataset, source: Source) -> _Content:
    manifest = data.manifest
    counts = []
    for level, names in zip(manifest.levels, manifest.class_names, strict=True):
        labels = data.labels("train", level)
        counts.append(
            dict(zip(names, np.bincount(labels[labels >= 0], minlength=len(names)).tolist(), strict=True))
        )
    return _Content(
        ids=[data.ids(split) for split in SPLITS],
        unlabelled=[int((data.labels(split) < 0).sum()) for split in SPLITS],
        groups=[_n_groups(data, split) for split in SPLITS],
        counts=tuple(counts),
        sizes=_first_sizes(source),
        skipped=tuple(manifest.skipped),
        passed_over=manifest.passed_over,
        fingerprint=manifest.fingerprint,
    )


def _n_groups(data: PreparedDataset, split: Split) -> int:
    groups = data.groups(split)
    return 0 if groups is None else len(np.unique(groups[groups >= 0]))


def _first_sizes(source: Source) -> npt.NDArray[np.int64]:
    """(n, 2) heights and widths of the source's first images; (0, 2) if the source is gone."""
    sizes = []
    try:
        for raw in itertools.islice(iterate(source, "train"), _LOOKED_AT):
            sizes.append(raw.decode().shape[:2])
    except (DataError, OSError):
        pass
    return np.array(sizes, dtype=np.int64).reshape(-1, 2)


def _from_source(source: Source, advance: Callable[[int], None]) -> _Content:
    splits = scan(source, advance, cores())
    for split in splits:
        if split.stopped:
            raise SweepError(split.stopped)
    by_split = [split.class_counts() for split in splits]
    counts = [
        {label: level_counts[0][label] for label in sorted(set().union(*level_counts))}
        for level_counts in zip(
            *(count or [Counter()] * len(levels_of(source)) for count in by_split), strict=True
        )
    ]
    return _Content(
        ids=[split.ids for split in splits],
        unlabelled=[split.n_unlabeled for split in splits],
        groups=[len({*split.groups} - {None}) for split in splits],
        counts=tuple(counts),
        sizes=np.concatenate([split.sizes for split in splits]),
        skipped=tuple(f"{bad.name}: {bad.reason}" for split in splits for bad in split.bad)
        + tuple(f"{name}: {LEFT_OUT}" for split in splits for name in split.left_out),
        passed_over=together(*(split.passed_over for split in splits)),
    )


def _level_facts(level: str, counts: dict[str, int]) -> LevelFacts:
    ordered: Sequence[tuple[str, int]] = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    there = [n for _, n in ordered if n]
    return LevelFacts(
        level=level,
        classes=len(ordered),
        empty=len(ordered) - len(there),
        largest=tuple(ordered[:_ENDS]),
        smallest=tuple(reversed(ordered[-_ENDS:])),
        imbalance=there[0] / there[-1] if there else 1.0,
    )


def _size_facts(sizes: npt.NDArray[np.int64]) -> SizeFacts | None:
    """Sizes ordered by area, so that the median is the size of a real image."""
    if not len(sizes):
        return None
    by_area = sizes[np.argsort(sizes.prod(axis=1), kind="stable"), ::-1].tolist()
    smallest, median, largest = (tuple(by_area[i]) for i in (0, len(by_area) // 2, -1))
    return SizeFacts(len(by_area), smallest, median, largest)
