"""From a source to a prepared folder: decode, resize, name every image by its pixels, sort, write.

The result depends only on the images and labels: not on file names, order or format, and not on how often a
preparation ran or when it was killed. Everything is built in a hidden folder inside the target and moved into
place file by file, ``dataset.json`` last. The next preparation reuses what a killed one had decoded.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.dataset.duplicates import occurrence
from ssl_sweep.data_ops.dataset.holdout import LEFT_OUT, hold_out, key_of
from ssl_sweep.data_ops.dataset.prepared import MANIFEST, SPLITS, DatasetManifest, PreparedDataset, Split
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.hashing import derive_seed, hash64
from ssl_sweep.data_ops.preparation.classes import (
    UNLABELED,
    class_counts,
    class_names,
    encode,
    parents,
)
from ssl_sweep.data_ops.preparation.decode_split import JOURNALS, DecodedImages, decode_split
from ssl_sweep.data_ops.preparation.similar_names import check_similar, similar_pairs
from ssl_sweep.data_ops.preparation.workspace import new_array, publish, workspace
from ssl_sweep.data_ops.sources.decode import DECODE_RULE, RESIZE_RULE
from ssl_sweep.data_ops.sources.reading import check_classes
from ssl_sweep.data_ops.sources.registry import (
    OpenSource,
    Source,
    levels_of,
    name_of,
    open_source,
)

Progress = Callable[[int, int], None]  # images done, images in total
Codes = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class _WrittenSplit:
    """What the fingerprint covers of a split."""

    rows: list[tuple[str, list[int]]]
    """(id, class index at each level) of each image."""
    groups: list[int]
    """The group code of each image; empty if no image has a group."""


def prepare(
    source: Source, size: int, out_dir: Path, on_progress: Progress | None = None, threads: int = 1
) -> DatasetManifest:
    """Write ``source`` at size x size pixels into ``out_dir``. The result is byte-identical every time.

    Any number of processes may prepare one folder at the same time. A killed one leaves a hidden folder, and
    the next one continues with it.

    Args:
        source: Where the images and labels are.
        size: The side in pixels.
        out_dir: The folder to write; it is created if it does not exist.
        on_progress: Called as ``on_progress(done, total)`` about every 512 images.
        threads: How many threads decode.

    Raises:
        DataError: An image or label cannot be used; the message names it.
    """
    opened = open_source(source)
    info = opened.info
    if size < 1:
        raise DataError(f"size is {size}; use 1 pixel or more")
    out_dir.mkdir(parents=True, exist_ok=True)
    basis = json.dumps([1, info.signature, size, DECODE_RULE, RESIZE_RULE])
    key = hashlib.sha256(basis.encode()).hexdigest()[:16]
    with workspace(out_dir, key, JOURNALS) as work:
        pools = _decode_all(opened, size, work, on_progress, threads)
        levels = levels_of(source)
        names = class_names([row for pool in pools for row in pool.labels], len(levels))
        tables = [encode(pool.labels, names) for pool in pools]
        groups = _group_codes(pools)
        parts = [(i, np.arange(len(table))) for i, table in enumerate(tables)]
        skipped = [reason for pool in pools for reason in pool.skipped]
        fraction = source.test_fraction
        if fraction is not None:
            labeled = tables[0][:, 0] != UNLABELED
            seed = derive_seed("test split", source.seed)
            parts = [(0, rows) for rows in hold_out(pools[0].digests, groups[0], labeled, fraction, seed)]
            skipped += _left_out(pools[0].unlabelled, labeled, np.concatenate([rows for _, rows in parts]))
        _check_names(source, levels, names, [tables[i][rows] for i, rows in parts])
        written = [
            _write_split(work, split, pools[i], tables[i][rows], groups[i][rows], rows)
            for split, (i, rows) in zip(SPLITS, parts, strict=True)
        ]
        train = tables[parts[0][0]][parts[0][1]]
        manifest = DatasetManifest(
            fingerprint=_fingerprint(
                size, levels, names, written, sorted(id for pool in pools for id in pool.skipped_ids)
            ),
            size=size,
            n_train=len(parts[0][1]),
            n_test=len(parts[1][1]),
            levels=levels,
            class_names=names,
            parents=parents(np.concatenate(tables), levels, names),
            n_labeled=int((train[:, 0] != UNLABELED).sum()),
            skipped=tuple(sorted(skipped)),
            pixels=RESIZE_RULE,
            class_counts=class_counts(train, names),
            passed_over=info.passed_over,
        )
        (work / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        _verify(work)
        publish(work, out_dir, MANIFEST)
    _verify(out_dir)
    return manifest


def _decode_all(
    opened: OpenSource, size: int, work: Path, on_progress: Progress | None, threads: int
) -> list[DecodedImages]:
    source, info = opened.source, opened.info
    splits: tuple[Split, ...] = SPLITS if source.test_fraction is None else ("train",)
    pools: list[DecodedImages] = []
    before, total = 0, info.n_train + info.n_test
    for split in splits:

        def report(done: int, before: int = before) -> None:
            if on_progress is not None:
                on_progress(before + done, total)

        pool = decode_split(
            opened.images(split),
            split,
            size,
            work,
            on_bad_image=source.on_bad_image,
            threads=threads,
            on_chunk=report,
        )
        before += len(pool.digests) + len(pool.skipped)
        pools.append(pool)
    if before != total:
        raise DataError(
            f"{name_of(source)}: {before} images were read but {total} were listed, so the source changed "
            "meanwhile; try again"
        )
    for what, pool in zip(("training", "test"), pools, strict=False):
        if pool.skipped and not len(pool.digests):
            raise DataError(
                f"{name_of(source)}: no {what} image can be read; the first error: {pool.skipped[0]}"
            )
    return pools


def _check_names(
    source: Source, levels: tuple[str, ...], names: tuple[tuple[str, ...], ...], splits: Sequence[Codes]
) -> None:
    """Raise DataError if names are nearly equal, or cannot be learnt and tested in these splits."""
    found = [
        {
            level: {classes[code] for code in np.unique(column[column != UNLABELED])}
            for level, classes, column in zip(levels, names, table.T, strict=True)
        }
        for table in splits
    ]
    check_similar(similar_pairs(levels, names), found, source.similar_names)
    check_classes(source, levels[0], *(split[levels[0]] for split in found))


def _left_out(unlabelled: list[str], labeled: npt.NDArray[np.bool_], kept: Codes) -> list[str]:
    """One "name: reason" per image in neither split. Unlabelled images of held-out groups can neither be
    tested nor trained on."""
    missing = np.ones(len(labeled), dtype=bool)
    missing[kept] = False
    names = itertools.compress(unlabelled, missing[~labeled].tolist())
    return [f"{name}: {LEFT_OUT}" for name in names]


def _group_codes(pools: list[DecodedImages]) -> list[Codes]:
    """For each pool the (N,) index of each image's group among all sorted names; -1 without a group."""
    names = sorted({group for pool in pools for group in pool.groups if group is not None})
    code: dict[str | None, int] = {None: -1, **{name: i for i, name in enumerate(names)}}
    return [np.array([code[group] for group in pool.groups], dtype=np.int64) for pool in pools]


def _write_split(
    work: Path, split: Split, pool: DecodedImages, labels: Codes, groups: Codes, rows: Codes
) -> _WrittenSplit:
    """Write these rows of a pool as a split, sorted by id. ``labels`` and ``groups`` belong to the rows."""
    digests = pool.digests[rows]
    # copies of an image are in the order of their labels and groups
    order = np.lexsort((groups, *labels.T[::-1], digests))
    rows, labels, groups, digests = rows[order], labels[order], groups[order], digests[order]
    copy = occurrence(digests)
    ids = [d.decode() + (f"-{c}" if c else "") for d, c in zip(digests.tolist(), copy.tolist(), strict=True)]
    keys = key_of(digests)
    keys = np.where(copy == 0, keys, hash64(0, keys, copy))
    images = new_array(work / f"{split}.npy", np.uint8, (len(rows), *pool.images.shape[1:]))
    for start in range(0, len(rows), 4096):
        images[start : start + 4096] = pool.images[rows[start : start + 4096]]
    images.flush()
    width = max((len(name) for name in ids), default=32)
    np.save(work / f"{split}_ids.npy", np.array(ids, dtype=f"S{width}"))
    np.save(work / f"{split}_keys.npy", keys)
    np.save(work / f"{split}_labels.npy", labels)
    grouped = any(group is not None for group in pool.groups)
    if grouped:
        np.save(work / f"{split}_groups.npy", groups)
    return _WrittenSplit(list(zip(ids, labels.tolist(), strict=True)), groups.tolist() if grouped else [])


def _fingerprint(
    size: int,
    levels: tuple[str, ...],
    names: tuple[tuple[str, ...], ...],
    written: Sequence[_WrittenSplit],
    skipped: list[str],
) -> str:
    content: list[object] = [size, RESIZE_RULE, levels, names, [split.rows for split in written]]
    # Groups and skipped images are newer: they count only if there are any, so that older fingerprints hold.
    if any(split.groups for split in written):
        content.append({"groups": [split.groups for split in written]})
    if skipped:
        content.append({"skipped": skipped})
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()


def _verify(work: Path) -> None:
    """Raise DataError unless everything reads back with the sizes that the manifest says."""
    data = PreparedDataset(work)
    size = data.manifest.size
    for split, n in zip(SPLITS, (data.manifest.n_train, data.manifest.n_test), strict=True):
        try:
            images, groups = data.images(split), data.groups(split)
            found = [len(data.id_bytes(split)), len(data.keys(split)), len(data.labels(split)), len(images)]
        except (OSError, ValueError, EOFError) as error:
            raise DataError(
                f"{work}: {split} cannot be read back ({error}); check whether the disk is full or broken"
            ) from error
        if groups is not None:
            found.append(len(groups))
        if set(found) != {n} or images.dtype != np.uint8 or images.shape[1:] != (size, size, 3):
            raise DataError(
                f"{work}: {split} reads back wrong ({found} rows of {n}); check whether the disk is full or "
                "broken"
            )
