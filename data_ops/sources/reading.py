"""Opens a source: lists both splits, cleans their labels together, and refuses what no sweep could use.

With ``test_fraction`` the split is drawn by image id, so that it does not depend on file order or format. It
is not known before the images are decoded: so the training split has every image, and
``preparation.prepare`` splits them.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator

from ssl_sweep.data_ops.dataset.holdout import held_out_size
from ssl_sweep.data_ops.dataset.passed_over import PassedOver, together
from ssl_sweep.data_ops.dataset.prepared import SPLITS, Split
from ssl_sweep.data_ops.errors import DataError, about
from ssl_sweep.data_ops.sources.hierarchy import Hierarchy, read_hierarchy
from ssl_sweep.data_ops.sources.labels import Column, clean_column, only_points
from ssl_sweep.data_ops.sources.listing import Listing, RawImage, read_otherwise, stamp
from ssl_sweep.data_ops.sources.options import Source
from ssl_sweep.data_ops.sources.remote import is_remote, local

_SPLIT_NAMES = frozenset(
    ["dev", "eval", "test", "testing", "train", "training", "val", "valid", "validation", "unlabeled"]
)
_POINT = "whole numbers without their point"  # the only cleaning that earlier versions did
_CLEANED = "labels cleaned, 1"
"""Marks a listing whose labels earlier versions read otherwise; change it if the cleaning changes."""


@dataclasses.dataclass(frozen=True)
class SourceInfo:
    """What is known before decoding.

    The prepared sizes can differ a little if groups or exact copies must stay on one side, or if images are
    skipped.
    """

    n_train: int
    n_test: int
    signature: str
    """Changes if the source's fields or its files change."""
    n_labeled: int
    """How many of the training images have a label."""
    n_classes: int = 0
    """Classes of the finest level in the training split; 0 if they are not known before decoding."""
    passed_over: tuple[PassedOver, ...] = ()
    """What was found beside the images of both splits."""
    gone: bool = False
    """Whether training images are listed, but none of their files exists."""


@dataclasses.dataclass(frozen=True)
class OpenSource:
    """A source whose splits are listed."""

    source: Source
    listings: tuple[Listing, Listing | None]
    columns: tuple[Column, ...]
    """The label for each cell of each level, and the group for each cell of the groups; empty if all labels
    are clean."""

    def listing(self, split: Split) -> Listing | None:
        """The listing of a split; None if the source has no such split."""
        return self.listings[SPLITS.index(split)]

    @functools.cached_property
    def hierarchy(self) -> Hierarchy | None:
        """The parents of the classes, if the source has a table of them."""
        where = self.source.hierarchy
        return None if where is None else read_hierarchy(where, self.source.label_levels)

    def labels(self, split: Split) -> dict[str, int]:
        """How many images of a split have each class of the finest level."""
        listing = self.listing(split)
        counts: dict[str, int] = {}
        if listing is not None and self.columns:
            for cell, n in listing.cells[0].items():
                label = self.columns[0][cell]
                if label is not None:
                    counts[label] = counts.get(label, 0) + n
        return counts

    def read_as_missing(self, split: Split) -> dict[str, int]:
        """How many images have each spelling that counts as a missing label of the finest level."""
        listing = self.listing(split)
        if listing is None or not self.columns:
            return {}
        found = listing.cells[0].items()
        return {cell: n for cell, n in found if cell and cell.strip() and self.columns[0][cell] is None}

    def images(self, split: Split) -> Iterator[RawImage]:
        """The images of a split in the source's order. If ``test_fraction`` is set, "train" means all images.

        Raises:
            DataError: A class is missing in the table of the hierarchy.
        """
        listing = self.listing(split)
        if listing is None:
            return iter(())
        images = self._cleaned(listing) if self.columns else listing.read()
        return images if self.hierarchy is None else self.hierarchy.extend(images)

    def _cleaned(self, listing: Listing) -> Iterator[RawImage]:
        *levels, groups = self.columns
        for image in listing.read():
            try:
                labels = tuple(column[cell] for column, cell in zip(levels, image.labels, strict=True))
                group = groups[image.group]
            except KeyError as error:
                raise DataError(
                    f"{image.name}: the label {error} was not there before, so the source changed meanwhile; "
                    "try again"
                ) from None
            yield dataclasses.replace(image, labels=labels, group=group)

    @functools.cached_property
    def info(self) -> SourceInfo:
        """Sizes and signature.

        Raises:
            DataError: Too few images have a label to hold some out.
        """
        train, test = self.listings
        signature = self._signature()
        classes = self.labels("train")
        n_labeled = sum(classes.values()) if self.columns else train.n
        passed_over = together(*(listing.passed_over for listing in self.listings if listing))
        n_test = test.n if test else 0
        if (fraction := self.source.test_fraction) is not None:
            if n_labeled < 2:
                raise DataError(
                    f"test_fraction needs at least two images with labels; {name_of(self.source)} has "
                    f"{n_labeled}"
                )
            n_test = held_out_size(n_labeled, fraction)
            n_labeled -= n_test
        n_train = train.n - (n_test if fraction is not None else 0)
        gone = 0 < train.n <= sum(size < 0 for _, size, _ in train.stamps)
        return SourceInfo(n_train, n_test, signature, n_labeled, len(classes), passed_over, gone)

    def _signature(self) -> str:
        """A hash of the fields, the code's version and the files. A ``later`` field counts once it is set."""
        source = self.source
        stamps = [self._stamps(listing) for listing in self.listings if listing is not None]
        stamps = [found for found in stamps if found]
        if source.hierarchy is not None:
            stamps.append([stamp(local(source.hierarchy))])
        fields = dataclasses.asdict(source)
        for field in dataclasses.fields(source):
            if field.metadata.get("later") and fields[field.name] == field.default:
                del fields[field.name]
        described = [type(source).__name__, fields, source.version, stamps]
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()

    def _stamps(self, listing: Listing) -> list[tuple[str, int, int]]:
        changed = [
            (column, cells)
            for column, cells in zip(self.columns, listing.cells, strict=True)
            if any(column[cell] not in (cell, _as_before(listing, cell)) for cell in cells)
        ]
        if not changed:
            return listing.stamps
        points = all(only_points(column, cells) for column, cells in changed)
        return read_otherwise(listing, _POINT if points else _CLEANED).stamps


def _as_before(listing: Listing, cell: str | None) -> str | None:
    """A cell as earlier versions read it."""
    return None if cell in listing.always_missing else cell


def open_source(source: Source) -> OpenSource:
    """List both splits of a source and clean their labels. Decodes no image.

    Raises:
        DataError: A path, a column or the images are missing, the split is impossible, or the labels cannot
            be what was meant.
    """
    _check(source)
    with about("train"):
        train = source.listing("train")
    with about("test"):
        test = source.listing("test")
    assert train is not None  # every source has one
    if test is not None and not test.n:
        test = dataclasses.replace(test, cells=(Counter(),) * len(train.cells))
    where, levels = name_of(source), source.label_levels
    columns: tuple[Column, ...] = ()
    if train.cells:
        keep = source.similar_names == "keep"
        cells = [
            set().union(*(one.cells[i] for one in (train, test) if one)) for i in range(len(train.cells))
        ]
        names = [*levels[: len(cells) - 1], "group"]
        columns = tuple(
            clean_column(f"{where}, {name}", column, source.missing, zeros=keep)
            for name, column in zip(names, cells, strict=True)
        )
    opened = OpenSource(source, (train, test), columns)
    with about("test"):
        _check_test_labels(opened)
    classes = [opened.labels(split) for split in SPLITS]
    with about("hierarchy"):
        if opened.hierarchy is not None:
            opened.hierarchy.check({*classes[0], *classes[1]})
    with about("test"):
        check_classes(source, levels[0], *classes)
    return opened


def _check_test_labels(opened: OpenSource) -> None:
    """Raise DataError if test images have labels that count as missing: without a label they test nothing."""
    absent = opened.read_as_missing("test")
    if absent:
        spelling, n = next(iter(absent.items()))
        raise DataError(
            f"{_name_of_test(opened.source)}: {n:,} test images have the label {spelling!r}, which counts as "
            f"missing; label them, or if it is a class, list the spellings of "
            'missing values without it (missing: "" for empty cells only)'
        )


def inspect(source: Source) -> SourceInfo:
    """Counts and signature from file listings, tables and footers. Decodes no image.

    Raises:
        DataError: A path, a column or the images are missing, or the split is impossible.
    """
    return open_source(source).info


def iterate(source: Source, split: Split) -> Iterator[RawImage]:
    """The images of a split in the source's order. If ``test_fraction`` is set, "train" means all images."""
    return open_source(source).images(split)


def levels_of(source: Source) -> tuple[str, ...]:
    """Names of the label levels, fine to coarse, with those of its hierarchy."""
    own = source.label_levels
    if source.hierarchy is None:
        return own
    return own + read_hierarchy(source.hierarchy, own).levels


def name_of(source: Source) -> str:
    """What messages call a source: the place of its images."""
    where = getattr(source, "root", None) or getattr(source, "train", None)
    return where if isinstance(where, str) else getattr(source, "domain", type(source).__name__)


def _name_of_test(source: Source) -> str:
    where = getattr(source, "test", None)
    return where if isinstance(where, str) else name_of(source)


def check_classes(source: Source, level: str, train: Iterable[str], test: Iterable[str]) -> None:
    """Check that the classes of the finest level can be learnt in one split and tested in the other.

    Raises:
        DataError: They are the names of splits, or most test classes have no training image.
    """
    taught, tested = set(train), set(test)
    names = {name.lower() for name in taught | tested}
    if len(names) > 1 and names <= _SPLIT_NAMES:
        raise DataError(
            f"{name_of(source)}: the classes of {level!r} are {_listed(taught | tested)}, which are names of "
            "splits; give the folder or file of each split under its own key, train or test"
        )
    new = tested - taught
    if not taught or not tested or 2 * len(new) <= len(tested):
        return
    where = _name_of_test(source)
    if len(new) == len(tested):
        raise DataError(
            f"{where}: no class of the test images has a training image: {level!r} is {_listed(tested)} in "
            f"test and {_listed(taught)} in train; spell both the same way. If the test classes are meant to "
            "be new, give only levels that both splits share"
        )
    raise DataError(
        f"{where}: {len(new):,} of {len(tested):,} test classes of {level!r} have no training image: "
        f"{_listed(new)}; train has {_listed(taught - tested) or 'no others'}. Spell both splits the same "
        "way, or give only levels that they share"
    )


def _listed(names: Iterable[str]) -> str:
    shown = sorted(names)
    return ", ".join(map(repr, shown[:5])) + (", …" if len(shown) > 5 else "")


def _check(source: Source) -> None:
    levels = source.label_levels
    if not levels:
        raise DataError("levels is empty; name at least one label")
    for level in levels:
        if levels.count(level) > 1:
            raise DataError(f"levels names {level!r} twice; name every level once, fine to coarse")
    train, test = getattr(source, "train", None), getattr(source, "test", None)
    if isinstance(train, str) and isinstance(test, str) and _place(train) == _place(test):
        with about("test"):
            raise DataError(
                f"{test}: train and test are the same images, so every test image would be a training image; "
                "give the test images as test, or a test_fraction"
            )
    fraction = source.test_fraction
    if fraction is None:
        return
    if not 0 < fraction < 1:
        raise DataError(f"test_fraction is {fraction}; choose a share between 0 and 1")
    for field in ("test", "split"):
        if getattr(source, field, None) is not None:
            raise DataError(f"{field} and test_fraction are both given; keep one of them")


def _place(where: str) -> str:
    return where if is_remote(where) else os.path.realpath(where)
