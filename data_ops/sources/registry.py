"""All sources of images and labels, by name, and what reads them."""

from __future__ import annotations

from ssl_sweep.data_ops.sources.csv import CsvSource
from ssl_sweep.data_ops.sources.embedded import DigitsSource, SyntheticSource
from ssl_sweep.data_ops.sources.folder import FolderSource
from ssl_sweep.data_ops.sources.geolifeclef import GeoLifeClefSource
from ssl_sweep.data_ops.sources.imagenet import ImageNetSource
from ssl_sweep.data_ops.sources.inat21 import INat21Source
from ssl_sweep.data_ops.sources.listing import FileImage, Labels, Pixels, RawImage
from ssl_sweep.data_ops.sources.npz import NpzSource
from ssl_sweep.data_ops.sources.options import Source
from ssl_sweep.data_ops.sources.parquet import ParquetSource
from ssl_sweep.data_ops.sources.places365 import Places365Source
from ssl_sweep.data_ops.sources.reading import (
    OpenSource,
    SourceInfo,
    inspect,
    iterate,
    levels_of,
    name_of,
    open_source,
)
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
    "OpenSource",
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
    "inspect",
    "iterate",
    "levels_of",
    "name_of",
    "open_source",
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
