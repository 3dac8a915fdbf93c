"""Decode a split chunk by chunk, so that a killed preparation continues where it stopped.

Two files grow together: ``.pixels`` with the resized images, and ``.journal`` with one line per chunk that
says everything else about its images. A line is written after its pixels are on disk, and has their checksum.
After a kill, chunks that do not match their line are decoded again.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.dataset.duplicates import pixel_hash
from ssl_sweep.data_ops.dataset.prepared import Split
from ssl_sweep.data_ops.errors import BadImageError, DataError
from ssl_sweep.data_ops.sources.decode import resize
from ssl_sweep.data_ops.sources.listing import Labels, RawImage
from ssl_sweep.data_ops.sources.options import OnBadImage

_CHUNK = 512  # images decoded between two progress reports
_CHUNK_BYTES = 1 << 26  # limits the chunk if images are large: a chunk is held in memory
JOURNALS = "*.journal"
"""Matches the files that show that a folder has decoded images."""


@dataclasses.dataclass(frozen=True)
class DecodedImages:
    """The N images of a split that could be decoded, in the order of the source."""

    images: npt.NDArray[np.uint8]
    """(N, S, S, 3) pixels on disk."""
    digests: npt.NDArray[np.bytes_]
    """(N,) hex digests of the images before resizing."""
    labels: list[Labels]
    groups: list[str | None]
    unlabelled: list[str]
    """Names of the images without a label, in order."""
    skipped: list[str]
    """One "name: reason" per image left out."""
    skipped_ids: list[str]
    """For each image left out a hash of its bytes, or its name if the bytes cannot be read."""


@dataclasses.dataclass(frozen=True)
class _Chunk:
    """One line of the journal. The fields are those of ``DecodedImages``, and the checksum of the pixels."""

    crc: int
    digests: list[str]
    labels: list[Labels]
    groups: list[str | None]
    unlabelled: list[str]
    skipped: list[str]
    skipped_ids: list[str]

    @property
    def done(self) -> int:
        """How many images of the source the chunk covers."""
        return len(self.digests) + len(self.skipped)


def decode_split(
    images: Iterable[RawImage],
    split: Split,
    size: int,
    work: Path,
    *,
    on_bad_image: OnBadImage = "fail",
    threads: int = 1,
    on_chunk: Callable[[int], None] | None = None,
) -> DecodedImages:
    """Decode a split at size x size pixels, except for the chunks that ``work`` already has.

    Args:
        images: All images of the split.
        split: The split, which names the files.
        size: The side in pixels.
        work: The folder with the files.
        on_bad_image: Whether an image that cannot be decoded raises an error or is skipped.
        threads: How many threads decode.
        on_chunk: Called as ``on_chunk(done)`` after each chunk.

    Raises:
        DataError: An image has labels at only some levels, a test image has no label, or an image cannot be
            decoded.
    """
    pixels, journal = work / f"{split}.pixels", work / f"{split}.journal"
    chunks = _restore(pixels, journal, 3 * size * size)
    done = sum(chunk.done for chunk in chunks)
    if done and on_chunk is not None:
        on_chunk(done)
    chunk_size = min(_CHUNK, max(_CHUNK_BYTES // (3 * size * size), 1))
    decode = functools.partial(_decode, size=size, skip=on_bad_image == "skip")
    with pixels.open("ab") as file, ThreadPoolExecutor(threads) as pool:
        run = map if threads == 1 else pool.map
        for batch in _batched(itertools.islice(images, done, None), chunk_size):
            for raw in batch:
                _check_labels(raw, split)
            chunk, data = _as_chunk(batch, list(run(decode, batch)))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            with journal.open("a", encoding="ascii") as lines:
                lines.write(json.dumps(dataclasses.asdict(chunk)) + "\n")
            chunks.append(chunk)
            done += chunk.done
            if on_chunk is not None:
                on_chunk(done)
    digests = [digest for chunk in chunks for digest in chunk.digests]
    shape = (len(digests), size, size, 3)
    return DecodedImages(
        images=np.memmap(pixels, np.uint8, "r", shape=shape) if digests else np.empty(shape, np.uint8),
        digests=np.array(digests, dtype="S32"),
        labels=[labels for chunk in chunks for labels in chunk.labels],
        groups=[group for chunk in chunks for group in chunk.groups],
        unlabelled=[name for chunk in chunks for name in chunk.unlabelled],
        skipped=[reason for chunk in chunks for reason in chunk.skipped],
        skipped_ids=[id for chunk in chunks for id in chunk.skipped_ids],
    )


def _restore(pixels: Path, journal: Path, image_bytes: int) -> list[_Chunk]:
    """The leading chunks whose pixels match their line. Cuts off everything after them."""
    chunks: list[_Chunk] = []
    if not journal.exists():
        pixels.unlink(missing_ok=True)
        return chunks
    kept = lines_kept = 0
    with pixels.open("rb") as data, journal.open("rb") as lines:
        for line in lines:
            try:
                chunk = _Chunk(**json.loads(line))
            except (ValueError, TypeError):
                break
            block = data.read(len(chunk.digests) * image_bytes)
            if not line.endswith(b"\n") or zlib.crc32(block) != chunk.crc:
                break
            chunks.append(dataclasses.replace(chunk, labels=[tuple(labels) for labels in chunk.labels]))
            kept += len(block)
            lines_kept += len(line)
    os.truncate(pixels, kept)
    os.truncate(journal, lines_kept)
    return chunks


@dataclasses.dataclass(frozen=True, slots=True)
class _Skipped:
    reason: str
    id: str


def _decode(raw: RawImage, size: int, skip: bool) -> tuple[npt.NDArray[np.uint8], str] | _Skipped:
    """(resized pixels, digest before resizing), or why the image is left out."""
    try:
        pixels = raw.decode()
    except DataError as error:
        if not skip:
            raise
        if isinstance(error, BadImageError):
            return _Skipped(str(error), error.content)
        return _Skipped(f"{raw.name}: {error}", raw.name.rpartition("/")[2])
    return resize(pixels, size), pixel_hash(pixels)


def _as_chunk(
    batch: list[RawImage], results: list[tuple[npt.NDArray[np.uint8], str] | _Skipped]
) -> tuple[_Chunk, bytes]:
    good = [(raw, *one) for raw, one in zip(batch, results, strict=True) if not isinstance(one, _Skipped)]
    bad = [one for one in results if isinstance(one, _Skipped)]
    data = b"".join(pixels.tobytes() for _, pixels, _ in good)
    chunk = _Chunk(
        crc=zlib.crc32(data),
        digests=[digest for _, _, digest in good],
        labels=[raw.labels for raw, _, _ in good],
        groups=[raw.group for raw, _, _ in good],
        unlabelled=[raw.name for raw, _, _ in good if raw.labels[0] is None],
        skipped=[one.reason for one in bad],
        skipped_ids=[one.id for one in bad],
    )
    return chunk, data


def _check_labels(raw: RawImage, split: Split) -> None:
    missing = raw.labels.count(None)
    if 0 < missing < len(raw.labels):
        raise DataError(f"{raw.name}: labels at some levels only, {raw.labels}; give all of them or none")
    if missing and split == "test":
        raise DataError(f"{raw.name}: no label, and it is a test image; label it, or move it to train")


def _batched(items: Iterable[RawImage], n: int) -> Iterator[list[RawImage]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, n)):
        yield batch
