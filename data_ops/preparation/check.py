"""Problems of datasets: judges all that ``preparation.scan`` found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ssl_sweep.data_ops.dataset.duplicates import Copies, find_copies
from ssl_sweep.data_ops.dataset.passed_over import summary, together, too_many
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.preparation.classes import class_names, encode, parents
from ssl_sweep.data_ops.preparation.scan import SplitScan
from ssl_sweep.data_ops.preparation.similar_names import check_similar, similar_pairs
from ssl_sweep.data_ops.sources.decode import DEEP_WHITE
from ssl_sweep.data_ops.sources.registry import Source, levels_of

FEW = 10
"""A class with fewer training images than this is reported."""
DARK = 16
"""16-bit images are reported if their brightest value is below the range divided by this."""
THIN = 0.1
"""Images whose centred square keeps less than this share of the picture are reported."""
OFTEN = 0.01
"""Thin images are a problem if more than this share of a split is thin, else a note."""
DROPPED = "; a sweep leaves them out of pretraining (leakage: drop)"
_LEFT_OUT = "; a sweep leaves them out of pretraining and label budgets (leakage: drop)"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing to know about a dataset, or about a pair of datasets."""

    kind: str
    """A short, fixed name, for programs."""
    dataset: str
    split: str = ""
    message: str
    items: tuple[str, ...] = ()
    """All the images or classes that are affected."""
    severe: bool = True
    """True for a problem, False for a note."""


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """A dataset, the scans of its splits, and how the grid uses it."""

    name: str
    source: Source
    splits: tuple[SplitScan, SplitScan]
    pretrains: bool = False
    """Its training images are used for pretraining."""
    evaluates: bool = False
    """Its test images are used for evaluation."""


def check_dataset(
    data: Scanned, *, skips_bad: bool = False, drops_leaks: bool = True, few: int = FEW
) -> tuple[Finding, ...]:
    """Findings about one dataset: unreadable, dark or thin images, labels, classes and copies.

    Args:
        data: The dataset.
        skips_bad: The dataset leaves bad images out, so they are notes instead of problems.
        drops_leaks: The sweep leaves out training images that are also test images, so they are notes if the
            test images are used.
        few: A class with fewer training images than this is reported.
    """
    parts = (
        _unreadable(data, skips_bad),
        _passed_over(data),
        _missing(data),
        _dark(data),
        _thin(data),
        _labels(data),
        _classes(data, few),
        _copies(data, drops_leaks and data.evaluates),
    )
    return tuple(finding for found in parts for finding in found)


def check_across(datasets: Sequence[Scanned], *, drops_leaks: bool = True) -> tuple[Finding, ...]:
    """Copies between datasets of different sources.

    Images that are used for both pretraining and testing are a leak: a problem, or a note if the sweep leaves
    them out of pretraining (``drops_leaks``). All other copies are notes.
    """
    parts = [(data, split) for data in datasets for split in data.splits]
    copies = find_copies([split.ids for _, split in parts])
    found = []
    for i, (one, here) in enumerate(parts):
        for j, (other, there) in enumerate(parts):
            if i > j or one.source == other.source or not copies.across(i, j):
                continue
            leaks = _leaks(one, here, other, there) or _leaks(other, there, one, here)
            why = "used for both pretraining and testing" if leaks else "in both"
            if leaks and drops_leaks:
                why += DROPPED
            found.append(
                Finding(
                    kind="leak" if leaks else "copies across datasets",
                    dataset=f"{one.name}, {other.name}",
                    split=f"{here.split}, {there.split}",
                    message=f"{_images(copies.across(i, j))} {why}",
                    items=tuple(_pictures(copies, parts, i, j)),
                    severe=leaks and not drops_leaks,
                )
            )
    return tuple(found)


def _leaks(pretrained: Scanned, pool: SplitScan, tested: Scanned, test: SplitScan) -> bool:
    """Whether images of ``pool`` are used for pretraining and images of ``test`` for testing."""
    trains = pretrained.pretrains and pool.split == "train"
    return trains and tested.evaluates and test.split == "test"


def _unreadable(data: Scanned, skips_bad: bool) -> Iterator[Finding]:
    for split in data.splits:
        if split.stopped:
            yield Finding(
                kind="unreadable",
                dataset=data.name,
                split=split.split,
                message=f"reading stopped after {_images(len(split) + len(split.bad))}: {split.stopped}",
            )
        if split.bad:
            all_bad = "; no image is left" if not len(split) else ""
            left_out = "; skipped (on_bad_image: skip)" if skips_bad else ""
            yield Finding(
                kind="bad images",
                dataset=data.name,
                split=split.split,
                message=f"{_images(len(split.bad))} cannot be decoded{left_out}{all_bad}",
                items=tuple(f"{bad.name}: {bad.reason}" for bad in split.bad),
                severe=not skips_bad or bool(all_bad),
            )
        if split.left_out:
            yield Finding(
                kind="left out",
                dataset=data.name,
                split=split.split,
                message=f"{_images(len(split.left_out))} in neither split: unlabelled, in a held-out group",
                items=split.left_out,
                severe=False,
            )


def _passed_over(data: Scanned) -> Iterator[Finding]:
    """What was found beside the images: a problem if many of them could be images."""
    found = together(*(split.passed_over for split in data.splits))
    if not found:
        return
    images = sum(len(split) + len(split.bad) + len(split.left_out) for split in data.splits)
    yield Finding(
        kind="passed over",
        dataset=data.name,
        message=summary(found, images),
        items=tuple(map(str, found)),
        severe=too_many(found, images),
    )


def _missing(data: Scanned) -> Iterator[Finding]:
    """Spellings that count as a missing label."""
    for split in data.splits:
        if split.read_as_missing:
            n = sum(n for _, n in split.read_as_missing)
            yield Finding(
                kind="missing values",
                dataset=data.name,
                split=split.split,
                severe=False,
                message=f"{_images(n)} whose label counts as missing; if it is a class, list the spellings "
                'of missing values without it (missing: "" for empty cells only)',
                items=tuple(f"{cell!r}: {n:,}" for cell, n in split.read_as_missing),
            )


def _dark(data: Scanned) -> Iterator[Finding]:
    """16-bit images that use little of the range: unscaled values of 8 or 12 bits come out nearly black."""
    deep = [
        (name, value)
        for split in data.splits
        for name, value in zip(split.names, split.brightest, strict=False)
        if value is not None
    ]
    most = max((value for _, value in deep), default=DEEP_WHITE)
    if most < DEEP_WHITE / DARK:
        yield Finding(
            kind="dark 16-bit images",
            dataset=data.name,
            message=f"{_images(len(deep))} of 16 bits without a value above {most:,} of "
            f"{DEEP_WHITE:,} come out nearly black; rescale them to 8 bits or to the full range of 16 bits",
            items=tuple(f"{name}: up to {value:,}" for name, value in deep),
        )


def _thin(data: Scanned) -> Iterator[Finding]:
    """Images so long that preparing, which keeps the centred square, keeps almost nothing of them."""
    for split in data.splits:
        shares = split.sizes.min(axis=1) / split.sizes.max(axis=1)
        thin = np.flatnonzero(shares < THIN).tolist()
        if thin:
            yield Finding(
                kind="thin images",
                dataset=data.name,
                split=split.split,
                message=f"{_images(len(thin))} whose centred square is less than {THIN:.0%} of the "
                "image; crop to the part that matters, or remove them",
                items=tuple(
                    f"{split.names[row]}: {split.sizes[row, 1]} x {split.sizes[row, 0]} px" for row in thin
                ),
                severe=len(thin) > OFTEN * len(split),
            )


def _labels(data: Scanned) -> Iterator[Finding]:
    levels = levels_of(data.source)
    for split in data.splits:
        missing = [row.count(None) for row in split.labels]
        without = [name for name, n in zip(split.names, missing, strict=True) if n == len(levels)]
        partly = [name for name, n in zip(split.names, missing, strict=True) if 0 < n < len(levels)]
        if partly:
            yield Finding(
                kind="labels missing",
                dataset=data.name,
                split=split.split,
                items=tuple(partly),
                message=f"{_images(len(partly))} with labels at only some of the levels {', '.join(levels)}",
            )
        if without and split.split == "test":
            yield Finding(
                kind="labels missing",
                dataset=data.name,
                split=split.split,
                items=tuple(without),
                message=f"{_images(len(without))} without a label; a test image needs one",
            )
        elif without:
            yield Finding(
                kind="unlabelled",
                dataset=data.name,
                split=split.split,
                severe=False,
                message=f"{_images(len(without))} without a label: used for pretraining only",
            )
    rows = [row for split in data.splits for row in split.labelled()]
    if not rows:
        message = "no image has a label; the dataset can only be used for pretraining"
        yield Finding(kind="unlabelled", dataset=data.name, message=message, severe=data.evaluates)
        return
    try:
        names = class_names(rows, len(levels))
        pairs = similar_pairs(levels, names)
        columns = [list(zip(*split.labelled(), strict=True)) for split in data.splits]
        splits = [dict(zip(levels, map(set, found or [()] * len(levels)), strict=True)) for found in columns]
        check_similar(pairs, splits, data.source.similar_names)
        parents(encode(rows, names), levels, names)
    except DataError as error:
        yield Finding(kind="classes", dataset=data.name, message=str(error), items=tuple(map(str, pairs)))
    else:
        if pairs:
            yield Finding(
                kind="similar names",
                dataset=data.name,
                severe=False,
                message=f"{len(pairs):,} pairs of class names are nearly equal and count as different",
                items=tuple(map(str, pairs)),
            )


def _classes(data: Scanned, few: int) -> Iterator[Finding]:
    """Classes that one of the splits lacks, and those with few training images, at every level."""
    counts = [split.class_counts() for split in data.splits]
    for level, name in enumerate(levels_of(data.source)):
        by_split = [count[level] if count else Counter() for count in counts]
        train, known = by_split[0], sorted(set().union(*by_split))
        for split, count in zip(data.splits, by_split, strict=True):
            lacking = [label for label in known if not count[label]]
            if lacking and count:
                yield Finding(
                    kind="classes missing",
                    dataset=data.name,
                    split=split.split,
                    items=tuple(lacking),
                    message=f"{len(lacking):,} of {len(known):,} classes of {name!r} have no image here",
                    severe=split.split == "train",
                )
        if level == 0 and len(+train) == 1:
            yield Finding(
                kind="one class",
                dataset=data.name,
                split=data.splits[0].split,
                message=f"all labels are {next(iter(+train))!r}; an evaluation needs two classes",
                severe=data.evaluates,
            )
        rare = sorted((n, label) for label, n in train.items() if n < few)
        if rare:
            yield Finding(
                kind="few images",
                dataset=data.name,
                split=data.splits[0].split,
                severe=False,
                message=f"{len(rare):,} of {len(known):,} classes of {name!r} have fewer than {few} images",
                items=tuple(f"{label}: {n}" for n, label in rare),
            )


def _copies(data: Scanned, dropped: bool) -> Iterator[Finding]:
    parts = [(data, split) for split in data.splits]
    copies = find_copies([split.ids for split in data.splits])
    for i, split in enumerate(data.splits):
        if n := copies.within(i):
            torn = _torn(copies, parts, i)
            labels = f"; the copies of {torn:,} have different labels" if torn else ""
            yield Finding(
                kind="copies within a split",
                dataset=data.name,
                split=split.split,
                message=f"{_images(n)} repeated{labels}",
                items=tuple(_pictures(copies, parts, i)),
                severe=bool(torn),
            )
    train, test = data.splits
    if n := copies.across(0, 1):
        yield Finding(
            kind="copies across splits",
            dataset=data.name,
            split="train, test",
            message=f"{_images(n)} of the test split also in train{_LEFT_OUT if dropped else ''}",
            items=tuple(_pictures(copies, parts, 0, 1)),
            severe=not dropped,
        )
    if shared := {*train.groups} & {*test.groups} - {None}:
        yield Finding(
            kind="groups across splits",
            dataset=data.name,
            split="train, test",
            message=f"{len(shared):,} groups have images in both of the given splits",
            items=tuple(sorted(map(str, shared))),
        )


Parts = Sequence[tuple[Scanned, SplitScan]]


def _pictures(copies: Copies, parts: Parts, *sets: int) -> Iterator[str]:
    """The files of each picture that is in all of ``sets``."""
    for picture in copies.pictures(*sets):
        if {one for one, _ in picture} == set(sets):
            yield " = ".join(parts[one][1].names[position] for one, position in picture)


def _torn(copies: Copies, parts: Parts, one: int) -> int:
    """Pictures whose copies have different labels. An unlabelled copy contradicts none."""
    labels = parts[one][1].labels
    pictures = ({labels[position] for _, position in picture} for picture in copies.pictures(one))
    return sum(sum(any(row) for row in rows) > 1 for rows in pictures)


def severe(findings: Iterable[Finding]) -> bool:
    """Whether any of the findings is a problem."""
    return any(finding.severe for finding in findings)


def _images(n: int) -> str:
    return f"{n:,} image" + ("" if n == 1 else "s")
