"""The entries of ``datasets:`` in a grid file: one model for each source, with the source's field names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ssl_sweep.data_ops.sources.registry import (
    CsvSource,
    DigitsSource,
    FolderSource,
    GeoLifeClefSource,
    ImageNetSource,
    INat21Source,
    NpzSource,
    ParquetSource,
    Places365Source,
    Source,
    SyntheticSource,
    TinyImageNetSource,
    TorchvisionSource,
    WebDatasetSource,
)
from ssl_sweep.sweep.grid.axes import Axis, Model, Seed
from ssl_sweep.sweep.grid.sizes import MAX_COUNT

Levels = Annotated[Axis[str], Field(description="Label columns, fine to coarse.")]
GroupColumn = Annotated[
    str | None,
    Field(
        description="Column of groups, such as scenes or patients; the program keeps each group on one side"
        " of a split."
    ),
]
SplitColumn = Annotated[
    str | None, Field(description="Column that holds train or test for each row; use it instead of test.")
]
TestPath = Annotated[str | None, Field(description="The same for the test images.")]
Root = Annotated[str, Field(description="The folder, with the published layout. ${VAR} is expanded.")]


class Dataset(Model):
    """The keys of every dataset."""

    kind: ClassVar[Any]
    """The source that the entry describes."""
    paths: ClassVar[tuple[str, ...]] = ()
    """The keys that hold paths."""
    size: int = Field(
        default=32, ge=8, le=1024, description="Side in pixels to which every image is resized."
    )

    def to_source(self) -> Source:
        """The source, with the values of the fields that have its names."""
        names = [field.name for field in dataclasses.fields(self.kind)]
        source: Source = self.kind(**{name: getattr(self, name) for name in names})
        return source


class SyntheticDataset(Dataset):
    """A procedural domain that ships with the program."""

    kind = SyntheticSource
    source: Literal["synthetic"] = Field(description="Procedurally rendered images.")
    domain: str = Field(description="Name of the procedural domain.")
    train: int = Field(default=4000, ge=1, le=MAX_COUNT, description="Training images.")
    test: int = Field(default=1000, ge=0, le=MAX_COUNT, description="Test images.")
    seed: Seed = Field(default=0, description="Seed of the images; another seed gives another set.")


class DigitsDataset(Dataset):
    """scikit-learn's handwritten digits."""

    kind = DigitsSource
    source: Literal["digits"] = Field(description="scikit-learn's 1,797 handwritten digits.")
    test_fraction: float = Field(
        default=0.3, gt=0, lt=1, description="Share of the images that is held out as test images."
    )
    seed: Seed = Field(default=0, description="Draw of the test images.")


class Expected(Model):
    """The sizes of a dataset whose images are not on this machine."""

    train: int = Field(ge=1, le=MAX_COUNT, description="Training images.")
    test: int = Field(default=0, ge=0, le=MAX_COUNT, description="Test images.")


class UserDataset(Dataset):
    """The keys of datasets with images on disk."""

    expect: Expected | None = Field(
        default=None,
        description="Sizes that `plan` assumes if the images are not on this machine; `run` needs the"
        " images.",
    )
    on_bad_image: Literal["fail", "skip"] = Field(
        default="fail",
        description="Whether an image that cannot be decoded stops the run, or is skipped and recorded.",
    )
    hierarchy: str | None = Field(
        default=None,
        description="JSON or CSV file with the parents of the classes, for a dataset with one label level.",
    )


class SplitDataset(UserDataset):
    """The keys of datasets from which test images can be held out."""

    test_fraction: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Share of the images to hold out as test images if there is no test split.",
    )
    seed: Seed = Field(default=0, description="Draw of the held-out images.")


class ParquetDataset(SplitDataset):
    """Images and labels in Parquet files."""

    kind = ParquetSource
    paths = ("train", "test", "hierarchy")
    source: Literal["parquet"] = Field(description="Encoded images in Parquet, as on the Hugging Face Hub.")
    train: str = Field(
        description="A file, a folder of *.parquet, a glob or an address (s3://…). ${VAR} is expanded."
    )
    test: TestPath = None
    image: str = Field(default="image", description="Column of the encoded images.")
    levels: Levels = ("label",)
    group: GroupColumn = None


class FolderDataset(SplitDataset):
    """Image files in one sub-folder per class."""

    kind = FolderSource
    paths = ("train", "test", "unlabelled", "hierarchy")
    source: Literal["folder"] = Field(description="Image files in one sub-folder per class.")
    train: str = Field(description="The folder. ${VAR} is expanded.")
    test: TestPath = None
    unlabelled: str | None = Field(
        default=None,
        description="A folder of images without labels, at any depth; they are used for pretraining only.",
    )
    group: str | None = Field(
        default=None,
        description="Regular expression for paths below the folder; its capture group gives the image's"
        " group.",
    )


class CsvDataset(SplitDataset):
    """A CSV file of image paths and labels."""

    kind = CsvSource
    paths = ("train", "test", "hierarchy")
    source: Literal["csv"] = Field(description="A CSV file that names image files and their labels.")
    train: str = Field(description="The CSV file, or its address. ${VAR} is expanded.")
    test: TestPath = None
    path: str = Field(default="path", description="Column of the image files, relative to the CSV file.")
    levels: Levels = ("label",)
    group: GroupColumn = None
    split: SplitColumn = None


class NpzDataset(SplitDataset):
    """Arrays in .npz files."""

    kind = NpzSource
    paths = ("train", "test", "hierarchy")
    source: Literal["npz"] = Field(description="Arrays of images and labels, as numpy.savez writes them.")
    train: str = Field(description="The .npz file, or its address. ${VAR} is expanded.")
    test: TestPath = None
    image: str = Field(default="images", description="Array of images: uint8, (N, H, W) or (N, H, W, C).")
    label: str = Field(
        default="labels", description="Array of labels, (N,) or (N, levels); -1 for an image without a label."
    )
    levels: Axis[str] = Field(default=("label",), description="Names of the label columns, fine to coarse.")
    group: str | None = Field(
        default=None, description="Array of groups; the program keeps each group on one side of a split."
    )


class WebDatasetDataset(SplitDataset):
    """Samples in tar shards."""

    kind = WebDatasetSource
    paths = ("train", "test", "hierarchy")
    source: Literal["webdataset"] = Field(description="Tar shards with key.jpg and key.cls or key.json.")
    train: str = Field(
        description="A shard, a folder of *.tar, a glob, x-{000..012}.tar or an address. ${VAR} is expanded."
    )
    test: TestPath = None
    levels: Axis[str] = Field(default=("label",), description="Keys of key.json, fine to coarse.")
    group: str | None = Field(
        default=None,
        description="Key of key.json with the group; the program keeps each group on one side of a split.",
    )


class TorchvisionDataset(SplitDataset):
    """A classification dataset of torchvision."""

    kind = TorchvisionSource
    paths = ("root", "hierarchy")
    source: Literal["torchvision"] = Field(description="A classification dataset of torchvision.")
    name: str = Field(description="Name of torchvision's class: CIFAR100, EuroSAT, Flowers102, …")
    root: str = Field(description="The folder to give to torchvision's class as root. ${VAR} is expanded.")
    download: bool = Field(default=False, description="Download the dataset if it is missing.")


class TinyImageNetDataset(UserDataset):
    """Tiny-ImageNet-200 as it is published."""

    kind = TinyImageNetSource
    paths = ("root", "hierarchy")
    source: Literal["tiny-imagenet"] = Field(description="Tiny-ImageNet-200; its val split is test.")
    root: Root


class ImageNetDataset(UserDataset):
    """ImageNet-1k as it is published."""

    kind = ImageNetSource
    paths = ("root", "hierarchy")
    source: Literal["imagenet"] = Field(description="ImageNet-1k (ILSVRC 2012); its val split is test.")
    root: Root


class INat21Dataset(UserDataset):
    """iNaturalist 2021 as it is published."""

    kind = INat21Source
    paths = ("root", "hierarchy")
    source: Literal["inat21"] = Field(
        description="iNaturalist 2021, species to kingdom; its val split is test."
    )
    root: Root
    variant: Literal["full", "mini"] = Field(default="full", description="The full or the mini training set.")


class Places365Dataset(UserDataset):
    """Places365-Standard as it is published."""

    kind = Places365Source
    paths = ("root", "hierarchy")
    source: Literal["places365"] = Field(
        description="Places365-Standard at 256 pixels; its val split is test."
    )
    root: Root


class GeoLifeClefDataset(SplitDataset):
    """GeoLifeCLEF 2020's patches with the user's labels."""

    kind = GeoLifeClefSource
    paths = ("train", "test", "root", "hierarchy")
    source: Literal["geolifeclef"] = Field(description="GeoLifeCLEF 2020's RGB patches, labelled by a CSV.")
    root: str = Field(description="The folder with patches_fr and patches_us. ${VAR} is expanded.")
    train: str = Field(description="CSV file of observation ids and labels. ${VAR} is expanded.")
    test: TestPath = None
    id: str = Field(default="observation_id", description="Column of the observation ids.")
    levels: Levels = ("label",)
    group: GroupColumn = None
    split: SplitColumn = None


AnyDataset = Annotated[
    SyntheticDataset
    | DigitsDataset
    | ParquetDataset
    | FolderDataset
    | CsvDataset
    | NpzDataset
    | WebDatasetDataset
    | TorchvisionDataset
    | TinyImageNetDataset
    | ImageNetDataset
    | INat21Dataset
    | Places365Dataset
    | GeoLifeClefDataset,
    Field(discriminator="source"),
]
DATASETS: Mapping[str, type[AnyDataset]] = {
    "synthetic": SyntheticDataset,
    "digits": DigitsDataset,
    "parquet": ParquetDataset,
    "folder": FolderDataset,
    "csv": CsvDataset,
    "npz": NpzDataset,
    "webdataset": WebDatasetDataset,
    "torchvision": TorchvisionDataset,
    "tiny-imagenet": TinyImageNetDataset,
    "imagenet": ImageNetDataset,
    "inat21": INat21Dataset,
    "places365": Places365Dataset,
    "geolifeclef": GeoLifeClefDataset,
}
