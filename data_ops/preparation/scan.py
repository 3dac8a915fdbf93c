"""Read and decode every image of a source, and collect what is found, good and bad. Writes nothing."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.dataset.duplicates import pixel_hash
from ssl_sweep.data_ops.dataset.holdout import hold_out
from ssl_sweep.data_ops.dataset.passed_over import PassedOver
from ssl_sweep.data_ops.dataset.prepared import Split
from ssl_sweep.data_ops.errors import BadImageError, DataError
from ssl_sweep.data_ops.hashing import derive_seed
from ssl_sweep.data_ops.sources.decode import deep_values
from ssl_sweep.data_ops.sources.listing import printable
from ssl_sweep.data_ops.sources.registry import OpenSource, RawImage, Source, open_source

_BATCH = 512  # images decoded between two progress reports

Progress = Callable[[int], None]  # images done


@dataclasses.dataclass(frozen=True)
class BadImage:
    """An image that cannot be used."""

    name: str
    """Its file, or its place in one."""
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitScan:
    """What a split contains. Row r of names, ids, labels, groups and sizes is one decoded image.

    If the test split is held out of one set of images, ``bad`` and ``left_out`` of the training split cover
    all of them.
    """

    split: Split
    names: tuple[str, ...]
    ids: npt.NDArray[np.bytes_]
    """(N,) hashes of the decoded pixels; copies have equal ones."""
    labels: tuple[tuple[str | None, ...], ...]
    groups: tuple[str | None, ...]
    sizes: npt.NDArray[np.int64]
    """(N, 2) height and width in pixels."""
    brightest: tuple[int | None, ...] = ()
    """The highest value of each 16-bit image; None for other images."""
    bad: tuple[BadImage, ...] = ()
    left_out: tuple[str, ...] = ()
    """Names of unlabelled images of held-out groups, which are in neither split."""
    stopped: str = ""
    """Why the source could not be read to its end or divided into splits; empty if it could."""
    passed_over: tuple[PassedOver, ...] = ()
    """What was found beside the images."""
    read_as_missing: tuple[tuple[str, int], ...] = ()
    """Spellings that count as a missing label, and how many images have each."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def n_unlabeled(self) -> int:
        """Images without a label at any level."""
        return sum(all(label is None for label in row) for row in self.labels)

    def labelled(self) -> list[tuple[str, ...]]:
        """The label rows of the images that have a label at every level."""
        return [tuple(label for label in row if label is not None) for row in self.labels if None not in row]

    def class_counts(self) -> tuple[Counter[str], ...]:
        """Labelled images per class, by level; empty if no image is labelled."""
        return tuple(Counter(column) for column in zip(*self.labelled(), strict=True))


def scan(
    source: Source, on_progress: Progress | None = None, threads: int = 1
) -> tuple[SplitScan, SplitScan]:
    """Scan the training and the test split of ``source``. Bad images and bad labels do not stop it.

    Args:
        source: Where the images and labels are. A test split is held out as ``prepare`` does it.
        on_progress: Called as ``on_progress(done)`` about every 512 images.
        threads: How many threads decode.
    """
    try:
        opened = open_source(source)
    except (DataError, OSError) as error:
        return _nothing("train", printable(str(error))), _nothing("test")
    train = _scan_split(opened, "train", 0, on_progress, threads)
    if source.test_fraction is not None:
        return _divided(train, source)
    return train, _scan_split(opened, "test", len(train) + len(train.bad), on_progress, threads)


def _nothing(split: Split, stopped: str = "") -> SplitScan:
    ids, sizes = np.empty(0, dtype="S32"), np.empty((0, 2), dtype=np.int64)
    return SplitScan(split=split, names=(), ids=ids, labels=(), groups=(), sizes=sizes, stopped=stopped)


def _scan_split(
    opened: OpenSource, split: Split, before: int, on_progress: Progress | None, threads: int
) -> SplitScan:
    names: list[str] = []
    ids: list[str] = []
    labels: list[tuple[str | None, ...]] = []
    groups: list[str | None] = []
    sizes: list[tuple[int, int]] = []
    brightest: list[int | None] = []
    bad: list[BadImage] = []
    stopped, listing = "", opened.listing(split)
    try:
        images = opened.images(split)
        with ThreadPoolExecutor(threads) as pool:
            while batch := list(itertools.islice(images, _BATCH)):
                for raw, outcome in zip(batch, pool.map(_decode, batch), strict=True):
                    if isinstance(outcome, BadImage):
                        bad.append(outcome)
                        continue
                    id, size, value = outcome
                    names.append(printable(raw.name))
                    ids.append(id)
                    labels.append(raw.labels)
                    groups.append(raw.group)
                    sizes.append(size)
                    brightest.append(value)
                if on_progress is not None:
                    on_progress(before + len(names) + len(bad))
    except (DataError, OSError) as error:
        stopped = printable(str(error))
    return SplitScan(
        split=split,
        names=tuple(names),
        ids=np.array(ids, dtype="S32"),
        labels=tuple(labels),
        groups=tuple(groups),
        sizes=np.array(sizes, dtype=np.int64).reshape(-1, 2),
        brightest=tuple(brightest),
        bad=tuple(bad),
        stopped=stopped,
        passed_over=listing.passed_over if listing is not None else (),
        read_as_missing=tuple(opened.read_as_missing(split).items()),
    )


def _divided(scanned: SplitScan, source: Source) -> tuple[SplitScan, SplitScan]:
    fraction = source.test_fraction
    assert fraction is not None
    code: dict[str | None, int] = {group: i for i, group in enumerate(dict.fromkeys(scanned.groups))}
    code[None] = -1
    groups = np.array([code[group] for group in scanned.groups], dtype=np.int64)
    labelled = np.array([None not in row for row in scanned.labels], dtype=bool)
    stopped = scanned.stopped
    try:
        train, test = hold_out(
            scanned.ids, groups, labelled, fraction, derive_seed("test split", source.seed)
        )
    except DataError as error:
        train, test = np.arange(len(scanned)), np.arange(0)
        stopped = stopped or str(error)
    left_out = np.setdiff1d(np.arange(len(scanned)), np.concatenate([train, test]))
    return (
        dataclasses.replace(
            _rows(scanned, "train", train),
            bad=scanned.bad,
            left_out=tuple(scanned.names[row] for row in left_out.tolist()),
            stopped=stopped,
            passed_over=scanned.passed_over,
            read_as_missing=scanned.read_as_missing,
        ),
        _rows(scanned, "test", test),
    )


def _rows(scanned: SplitScan, split: Split, rows: npt.NDArray[np.int64]) -> SplitScan:
    chosen = rows.tolist()
    return SplitScan(
        split=split,
        names=tuple(scanned.names[row] for row in chosen),
        ids=scanned.ids[rows],
        labels=tuple(scanned.labels[row] for row in chosen),
        groups=tuple(scanned.groups[row] for row in chosen),
        sizes=scanned.sizes[rows],
        brightest=tuple(scanned.brightest[row] for row in chosen),
    )


def _decode(raw: RawImage) -> BadImage | tuple[str, tuple[int, int], int | None]:
    try:
        with deep_values() as brightest:
            pixels = raw.decode()
    except (DataError, OSError) as error:
        what = error.what if isinstance(error, BadImageError) else str(error)
        return BadImage(printable(raw.name), printable(what))
    return pixel_hash(pixels), (pixels.shape[0], pixels.shape[1]), max(brightest, default=None)
