"""All sources of images and labels. A source is plain data; ``inspect`` counts and ``iterate`` reads images.

With ``test_fraction`` the split is drawn by image id, so that it does not depend on file order or format. It
is not known before the images are decoded: so ``iterate(source, "train")`` gives every image, and
``preparation.prepare`` splits them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator

from ssl_sweep.data_ops.dataset.holdout import held_out_size
from ssl_sweep.data_ops.dataset.prepared import SPLITS, Split
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.sources.csv import CsvSource
from ssl_sweep.data_ops.sources.embedded import DigitsSource, SyntheticSource
from ssl_sweep.data_ops.sources.folder import FolderSource
from ssl_sweep.data_ops.sources.geolifeclef import GeoLifeClefSource
from ssl_sweep.data_ops.sources.hierarchy import read_hierarchy
from ssl_sweep.data_ops.sources.imagenet import ImageNetSource
from ssl_sweep.data_ops.sources.inat21 import INat21Source
from ssl_sweep.data_ops.sources.listing import FileImage, Labels, Listing, Pixels, RawImage, stamp
from ssl_sweep.data_ops.sources.npz import NpzSource
from ssl_sweep.data_ops.sources.options import Source
from ssl_sweep.data_ops.sources.parquet import ParquetSource
from ssl_sweep.data_ops.sources.places365 import Places365Source
from ssl_sweep.data_ops.sources.remote import local
from ssl_sweep.data_ops.sources.tiny_imagenet import TinyImageNetSource
from ssl_sweep.data_ops.sources.torchvision import TorchvisionSource
from ssl_sweep.data_ops.sources.webdataset import WebDatasetSource

__all__ = [
    "SOURCES",
    "CsvSource",
    "DigitsSource",
    "FileImage",
    "FolderSource",
    "GeoLifeClefSource",
    "INat21Source",
    "ImageNetSource",
    "Labels",
    "NpzSource",
    "ParquetSource",
    "Pixels",
    "Places365Source",
    "RawImage",
    "Source",
    "SourceInfo",
    "SyntheticSource",
    "TinyImageNetSource",
    "TorchvisionSource",
    "WebDatasetSource",
    "held_out_fraction",
    "inspect",
    "iterate",
    "levels_of",
    "name_of",
]

SOURCES: dict[str, type[Source]] = {
    "synthetic": SyntheticSource,
    "digits": DigitsSource,
    "parquet": ParquetSource,
    "folder": FolderSource,
    "csv": CsvSource,
    "npz": NpzSource,
    "webdataset": WebDatasetSource,
    "torchvision": TorchvisionSource,
    "tiny-imagenet": TinyImageNetSource,
    "imagenet": ImageNetSource,
    "inat21": INat21Source,
    "places365": Places365Source,
    "geolifeclef": GeoLifeClefSource,
}
"""Every source by the name that a grid uses. A new source is one file and one line here."""


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


def levels_of(source: Source) -> tuple[str, ...]:
    """Names of the label levels, fine to coarse, with those of its hierarchy."""
    own = source.label_levels
    if source.hierarchy is None:
        return own
    return own + read_hierarchy(source.hierarchy, own).levels


def held_out_fraction(source: Source) -> float | None:
    """The share of images to hold out as the test split, or None if the source has its own splits."""
    return source.test_fraction


def inspect(source: Source) -> SourceInfo:
    """Counts and signature from file listings, tables and footers. Decodes no image.

    Raises:
        DataError: A path, a column or the images are missing, or the split is impossible.
    """
    _check(source)
    listings = [source.listing(split) for split in SPLITS]
    if source.hierarchy is not None:
        hierarchy = read_hierarchy(source.hierarchy, source.label_levels)
        hierarchy.check(frozenset().union(*(listing.classes for listing in listings if listing)))
    train, test = listings
    assert train is not None  # every source has one
    signature = _signature(source, [listing for listing in listings if listing is not None])
    if source.test_fraction is None:
        return SourceInfo(train.n, test.n if test else 0, signature, train.n_labeled)
    if train.n_labeled < 2:
        raise DataError(
            f"test_fraction needs at least two images with labels; {name_of(source)} has {train.n_labeled}"
        )
    held_out = held_out_size(train.n_labeled, source.test_fraction)
    return SourceInfo(train.n - held_out, held_out, signature, train.n_labeled - held_out)


def iterate(source: Source, split: Split) -> Iterator[RawImage]:
    """The images of a split in the source's order. If ``test_fraction`` is set, "train" means all images.

    Raises:
        DataError: A class is missing in the table of the hierarchy.
    """
    _check(source)
    listing = source.listing(split)
    if listing is None:
        return iter(())
    images = listing.read()
    if source.hierarchy is None:
        return images
    return read_hierarchy(source.hierarchy, source.label_levels).extend(images)


def name_of(source: Source) -> str:
    """What messages call a source: the place of its images."""
    where = getattr(source, "root", None) or getattr(source, "train", None)
    return where if isinstance(where, str) else getattr(source, "domain", type(source).__name__)


def _check(source: Source) -> None:
    levels = source.label_levels
    if not levels:
        raise DataError("levels is empty; name at least one label")
    for level in levels:
        if levels.count(level) > 1:
            raise DataError(f"levels names {level!r} twice; name every level once, fine to coarse")
    fraction = source.test_fraction
    if fraction is None:
        return
    if not 0 < fraction < 1:
        raise DataError(f"test_fraction is {fraction}; choose a share between 0 and 1")
    for field in ("test", "split"):
        if getattr(source, field, None) is not None:
            raise DataError(f"{field} and test_fraction are both given; keep one of them")


def _signature(source: Source, listings: list[Listing]) -> str:
    """A hash of the fields, the code's version and the files. A ``LATER`` field counts once it is set."""
    stamps = [listing.stamps for listing in listings if listing.stamps]
    if source.hierarchy is not None:
        stamps.append([stamp(local(source.hierarchy))])
    fields = dataclasses.asdict(source)
    for field in dataclasses.fields(source):
        if field.metadata.get("later") and fields[field.name] == field.default:
            del fields[field.name]
    described = [type(source).__name__, fields, source.version, stamps]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
