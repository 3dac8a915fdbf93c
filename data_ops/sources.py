"""Where images and labels come from. A source is plain data; `inspect` sizes it up and `iterate` reads it.

With `test_fraction` the split is not known before the images are decoded (it is drawn by image id, so that
it does not depend on file order or format): then `iterate(source, "train")` gives every image, and
`data_ops.prepare` splits.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_ops.dataset import Split
from data_ops.errors import DataError

Pixels = npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class SyntheticSource:
    """A procedural domain of `data_ops.synthetic`. Larger `train` keeps the smaller set; `test` never moves.

    `size` is the rendered side in pixels.
    """

    domain: str
    train: int = 4000
    test: int = 1000
    seed: int = 0
    size: int = 32


@dataclasses.dataclass(frozen=True)
class DigitsSource:
    """scikit-learn's 1,797 handwritten digits (8x8 gray): a small real set that ships with a dependency."""

    test_fraction: float = 0.3
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class ParquetSource:
    """Encoded images in Parquet, as on the HF Hub. `train`, `test`: a file, a folder of *.parquet or a glob.

    `image` is a struct {bytes, path} or a binary column; `levels` are int or string columns, fine to coarse.
    """

    train: str
    test: str | None = None
    image: str = "image"
    levels: tuple[str, ...] = ("label",)
    test_fraction: float | None = None
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class FolderSource:
    """Image files in one sub-folder per class; sub-folders below a class belong to it."""

    train: str
    test: str | None = None
    test_fraction: float | None = None
    seed: int = 0


Source = SyntheticSource | DigitsSource | ParquetSource | FolderSource


@dataclasses.dataclass(frozen=True)
class SourceInfo:
    """Sizes known before decoding. `signature` changes when the source's fields or its files do."""

    n_train: int
    n_test: int
    signature: str


@dataclasses.dataclass(frozen=True)
class RawImage:
    """An image not decoded yet. `name` tells where; `decode` gives (H, W, 3) uint8 or raises DataError."""

    name: str
    decode: Callable[[], Pixels]
    labels: tuple[str, ...]


def levels_of(source: Source) -> tuple[str, ...]:
    """Names of the label levels from fine to coarse."""
    match source:
        case SyntheticSource():
            from data_ops.synthetic import domain_named

            return domain_named(source.domain).levels
        case DigitsSource():
            return ("digit", "parity")
        case ParquetSource():
            return source.levels
        case FolderSource():
            return ("label",)


def held_out_fraction(source: Source) -> float | None:
    """The share of images to hold out as the test split by image id, or None where splits are given."""
    return None if isinstance(source, SyntheticSource) else source.test_fraction


def inspect(source: Source) -> SourceInfo:
    """Counts and signature without decoding an image: file listings and Parquet footers only.

    DataError for a missing path, no images, a wrong column (with the nearest name) or an impossible split.
    """
    _check_split(source)
    match source:
        case SyntheticSource():
            from data_ops import synthetic

            synthetic.domain_named(source.domain)
            for split, n in (("train", source.train), ("test", source.test)):
                if n < (split == "train") or n > synthetic.MAX_IMAGES:
                    raise DataError(f"{source.domain}: {split} is {n}; choose up to {synthetic.MAX_IMAGES:,}")
            signature = _signature(source, synthetic.VERSION)
            return SourceInfo(source.train, source.test, signature)
        case DigitsSource():
            from importlib.metadata import version

            n = 1797  # load_digits' fixed size, known without importing scikit-learn
            return _split_info(source, n, 0, _signature(source, version("scikit-learn")))
        case ParquetSource():
            from data_ops import parquet_source as parquet

            tables = [parquet.files(p) for p in (source.train, source.test) if p is not None]
            counts = [parquet.count_rows(t, source.image, source.levels) for t in tables]
            return _split_info(source, counts[0], sum(counts[1:]), _signature(source, "", *tables))
        case FolderSource():
            from data_ops import folder_source as folder

            listings = [folder.files(p) for p in (source.train, source.test) if p is not None]
            counts = [len(listing) for listing in listings]
            paths = [[path for path, _ in listing] for listing in listings]
            return _split_info(source, counts[0], sum(counts[1:]), _signature(source, "", *paths))


def iterate(source: Source, split: Split) -> Iterator[RawImage]:
    """The images of a split in the source's order; where `test_fraction` is set, "train" means all."""
    _check_split(source)
    match source:
        case SyntheticSource():
            return _iterate_synthetic(source, split)
        case DigitsSource():
            return _iterate_digits() if split == "train" else iter(())
        case ParquetSource():
            from data_ops import parquet_source as parquet

            path = source.train if split == "train" else source.test
            return iter(()) if path is None else parquet.iterate(path, source.image, source.levels)
        case FolderSource():
            from data_ops import folder_source as folder

            path = source.train if split == "train" else source.test
            return iter(()) if path is None else folder.iterate(path)


def _iterate_synthetic(source: SyntheticSource, split: Split) -> Iterator[RawImage]:
    from data_ops import synthetic

    first, n = (0, source.train) if split == "train" else (synthetic.MAX_IMAGES, source.test)
    domain = synthetic.domain_named(source.domain)
    for start in range(0, n, 1024):
        indices = np.arange(first + start, first + min(start + 1024, n))
        images = synthetic.render(source.domain, indices, source.seed, source.size)
        classes = synthetic.labels(source.domain, indices)
        for index, image, label in zip(indices, images, classes, strict=True):
            yield RawImage(
                f"{source.domain}[{index}]", functools.partial(_same, image), domain.lineage[label]
            )


def _iterate_digits() -> Iterator[RawImage]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    gray = np.minimum(digits.images * 16, 255).astype(np.uint8)  # 0..16 to 0..255
    for i, (image, digit) in enumerate(zip(gray, digits.target, strict=True)):
        rgb = np.repeat(image[:, :, None], 3, axis=2)
        yield RawImage(
            f"digits[{i}]", functools.partial(_same, rgb), (str(digit), "odd" if digit % 2 else "even")
        )


def _same(pixels: Pixels) -> Pixels:
    return pixels


def held_out_size(n: int, fraction: float) -> int:
    """How many of n images `test_fraction` holds out; at least one on either side."""
    return min(max(round(n * fraction), 1), n - 1)


def _check_split(source: Source) -> None:
    fraction = held_out_fraction(source)
    if fraction is None:
        return
    if not 0 < fraction < 1:
        raise DataError(f"test_fraction is {fraction}; choose a share between 0 and 1")
    if getattr(source, "test", None) is not None:
        raise DataError("test and test_fraction are both given; keep one of them")


def _split_info(source: Source, n_train: int, n_test: int, signature: str) -> SourceInfo:
    fraction = held_out_fraction(source)
    if fraction is None:
        return SourceInfo(n_train, n_test, signature)
    if n_train < 2:
        raise DataError(f"test_fraction needs at least two images; {source} has {n_train}")
    held_out = held_out_size(n_train, fraction)
    return SourceInfo(n_train - held_out, held_out, signature)


def _signature(source: Source, version: str, *files: list[Path]) -> str:
    stats = [[(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in split] for split in files]
    fields = [type(source).__name__, dataclasses.asdict(source), version, stats]
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
