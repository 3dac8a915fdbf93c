"""From a source to a prepared folder: decode, resize, name every image by its pixels, sort, write.

The result depends on the images and labels alone: not on file names, order or format, nor on who prepares how
often or is killed at what moment. Everything is built in a hidden folder inside the target and moved in place
file by file, `dataset.json` last.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_ops.classes import check_names, class_names, encode, parents
from data_ops.dataset import MANIFEST, SPLITS, DatasetManifest, Split
from data_ops.decode import RESIZE_RULE, resize
from data_ops.errors import DataError
from data_ops.hashing import derive_seed, hash64
from data_ops.sources import (
    RawImage,
    Source,
    SourceInfo,
    held_out_fraction,
    held_out_size,
    inspect,
    iterate,
    levels_of,
)
from data_ops.workspace import publish, workspace

_BATCH = 512  # images decoded between two progress reports

Progress = Callable[[int, int], None]
Positions = npt.NDArray[np.int64]


def prepare(
    source: Source, size: int, out_dir: Path, on_progress: Progress | None = None, threads: int = 1
) -> DatasetManifest:
    """Write `source` at size x size pixels into `out_dir`; byte-identical however often it is done.

    `on_progress(done, total)` is called about every 512 images; `threads` decode. Any number of processes
    may prepare one folder at once, and a killed one leaves only a hidden folder that the next one removes.
    DataError names a bad image or label.
    """
    info = inspect(source)
    if size < 1:
        raise DataError(f"size is {size}; images need at least one pixel")
    out_dir.mkdir(parents=True, exist_ok=True)
    with workspace(out_dir) as work:
        pools = _decode_all(source, size, work, info, on_progress, threads)
        levels = levels_of(source)
        names = class_names([row for pool in pools for row in pool.labels])
        check_names(levels, names)
        tables = [encode(pool.labels, names) for pool in pools]
        parts = [(pool, table, np.arange(len(table))) for pool, table in zip(pools, tables, strict=True)]
        fraction = held_out_fraction(source)
        if fraction is not None:
            sides = _hold_out(pools[0].digests, fraction, derive_seed("test split", source.seed))
            parts = [(pools[0], tables[0], rows) for rows in sides]
        rows = [_write_split(work, split, *part) for split, part in zip(SPLITS, parts, strict=True)]
        manifest = DatasetManifest(
            fingerprint=_fingerprint(size, levels, names, rows),
            size=size,
            n_train=len(rows[0]),
            n_test=len(rows[1]),
            levels=levels,
            class_names=names,
            parents=parents(np.concatenate(tables), levels, names),
        )
        (work / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        publish(work, out_dir, MANIFEST)
    return manifest


@dataclasses.dataclass(frozen=True)
class _Pool:
    """Decoded images of one pass over the source, in its order."""

    images: npt.NDArray[np.uint8]  # (N, S, S, 3), on disk
    digests: npt.NDArray[np.bytes_]  # (N,) hex digits
    labels: list[tuple[str, ...]]


def _decode_all(
    source: Source, size: int, work: Path, info: SourceInfo, on_progress: Progress | None, threads: int
) -> list[_Pool]:
    splits: tuple[Split, ...] = SPLITS if held_out_fraction(source) is None else ("train",)
    pools, before, total = [], 0, info.n_train + info.n_test
    for split in splits:
        path = work / f"{split}.pixels"
        digests: list[str] = []
        labels: list[tuple[str, ...]] = []
        with path.open("wb") as file, ThreadPoolExecutor(threads) as pool:
            for batch in _batched(iterate(source, split), _BATCH):
                run = map if threads == 1 else pool.map
                for raw, (pixels, digest) in zip(
                    batch, run(_decode, batch, itertools.repeat(size)), strict=True
                ):
                    file.write(pixels.tobytes())
                    digests.append(digest)
                    labels.append(raw.labels)
                if on_progress is not None:
                    on_progress(before + len(digests), total)
        before += len(digests)
        shape = (len(digests), size, size, 3)
        images = np.memmap(path, np.uint8, "r", shape=shape) if digests else np.empty(shape, np.uint8)
        pools.append(_Pool(images, np.array(digests, dtype="S32"), labels))
    if before != total:
        raise DataError(f"{source}: {before} images read, {total} announced: it changed meanwhile, try again")
    return pools


def _decode(raw: RawImage, size: int) -> tuple[npt.NDArray[np.uint8], str]:
    pixels = raw.decode()
    height, width = pixels.shape[:2]
    digest = hashlib.blake2b(f"{height}x{width}:".encode(), digest_size=16)
    digest.update(pixels.tobytes())
    return resize(pixels, size), digest.hexdigest()


def _batched(items: Iterable[RawImage], n: int) -> Iterator[list[RawImage]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, n)):
        yield batch


def _hold_out(digests: npt.NDArray[np.bytes_], fraction: float, seed: int) -> tuple[Positions, Positions]:
    """(train, test) rows: a seeded hash of the image orders who is held out; copies stay together."""
    distinct, group, copies = np.unique(digests, return_inverse=True, return_counts=True)
    order = np.lexsort((distinct, hash64(seed, _key(distinct))))
    room = held_out_size(len(digests), fraction)
    held_out = np.zeros(len(distinct), dtype=bool)
    for candidate in order:
        if copies[candidate] <= room:
            held_out[candidate] = True
            room -= copies[candidate]
        if not room:
            break
    return np.flatnonzero(~held_out[group]), np.flatnonzero(held_out[group])


def _key(digests: npt.NDArray[np.bytes_]) -> npt.NDArray[np.uint64]:
    """The first 8 bytes of each hex digest."""
    return np.array([int(digest[:16], 16) for digest in digests.tolist()], dtype=np.uint64)


def _write_split(
    work: Path, split: Split, pool: _Pool, table: npt.NDArray[np.int64], rows: Positions
) -> list[tuple[str, list[int]]]:
    """Write one split sorted by id; returns its (id, labels) rows, what the fingerprint covers."""
    labels, digests = table[rows], pool.digests[rows]
    order = np.lexsort((*labels.T[::-1], digests))  # copies of one image in the order of their labels
    rows, labels, digests = rows[order], labels[order], digests[order]
    fresh = np.append(True, digests[1:] != digests[:-1])[: len(digests)]
    copy = np.arange(len(digests)) - np.maximum.accumulate(np.where(fresh, np.arange(len(digests)), 0))
    ids = [d.decode() + (f"-{c}" if c else "") for d, c in zip(digests.tolist(), copy.tolist(), strict=True)]
    keys = _key(digests)
    keys = np.where(copy == 0, keys, hash64(0, keys, copy))
    images = np.lib.format.open_memmap(
        work / f"{split}.npy", mode="w+", dtype=np.uint8, shape=(len(rows), *pool.images.shape[1:])
    )
    for start in range(0, len(rows), 4096):
        images[start : start + 4096] = pool.images[rows[start : start + 4096]]
    images.flush()
    width = max((len(name) for name in ids), default=32)
    np.save(work / f"{split}_ids.npy", np.array(ids, dtype=f"S{width}"))
    np.save(work / f"{split}_keys.npy", keys)
    np.save(work / f"{split}_labels.npy", labels)
    return list(zip(ids, labels.tolist(), strict=True))


def _fingerprint(
    size: int,
    levels: tuple[str, ...],
    names: tuple[tuple[str, ...], ...],
    rows: list[list[tuple[str, list[int]]]],
) -> str:
    described = json.dumps([size, RESIZE_RULE, levels, names, rows], separators=(",", ":"))
    return hashlib.sha256(described.encode()).hexdigest()
