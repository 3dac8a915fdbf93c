"""torchvision's classification datasets by name. torch is imported only when one of them is opened."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ssl_sweep.data_ops.dataset.prepared import Split
from ssl_sweep.data_ops.errors import DataError, nearest
from ssl_sweep.data_ops.sources.cifar import CIFAR10, CIFAR100, CifarLayout, CifarSplit, read_cifar
from ssl_sweep.data_ops.sources.decode import to_rgb
from ssl_sweep.data_ops.sources.listing import Labels, Listing, Pixels, RawImage, Stamp, listed, stamp
from ssl_sweep.data_ops.sources.options import SplitHere, option


@dataclasses.dataclass(frozen=True)
class TorchvisionSet:
    """How torchvision opens a dataset. Datasets that torchvision unpickles are not supported."""

    labels: str
    """The attribute with the labels."""
    train: tuple[str, object] | None = ("split", "train")
    """The argument that selects the training split."""
    test: tuple[str, object] | None = ("split", "test")
    """The argument that selects the test split; None if the dataset has only one split."""


_WHOLE: Mapping[str, Any] = {"train": None, "test": None}
_FLAG: Mapping[str, Any] = {"train": ("train", True), "test": ("train", False)}
CIFARS: Mapping[str, CifarLayout] = {"CIFAR10": CIFAR10, "CIFAR100": CIFAR100}
SETS: Mapping[str, TorchvisionSet] = {
    "Caltech101": TorchvisionSet("y", **_WHOLE),
    "Caltech256": TorchvisionSet("y", **_WHOLE),
    "Country211": TorchvisionSet("targets"),
    "DTD": TorchvisionSet("_labels"),
    "EuroSAT": TorchvisionSet("targets", **_WHOLE),
    "FER2013": TorchvisionSet("_samples"),
    "FGVCAircraft": TorchvisionSet("_labels", train=("split", "trainval")),
    "FashionMNIST": TorchvisionSet("targets", **_FLAG),
    "Flowers102": TorchvisionSet("_labels"),
    "Food101": TorchvisionSet("_labels"),
    "GTSRB": TorchvisionSet("_samples"),
    "Imagenette": TorchvisionSet("_samples", test=("split", "val")),
    "KMNIST": TorchvisionSet("targets", **_FLAG),
    "MNIST": TorchvisionSet("targets", **_FLAG),
    "OxfordIIITPet": TorchvisionSet("_labels", train=("split", "trainval")),
    "RenderedSST2": TorchvisionSet("_samples"),
    "SEMEION": TorchvisionSet("labels", **_WHOLE),
    "STL10": TorchvisionSet("labels", train=("split", "train+unlabeled")),
    "SUN397": TorchvisionSet("_labels", **_WHOLE),
    "SVHN": TorchvisionSet("labels"),
    "StanfordCars": TorchvisionSet("_samples"),
    "USPS": TorchvisionSet("targets", **_FLAG),
}


@dataclasses.dataclass(frozen=True)
class TorchvisionSource(SplitHere):
    """A classification dataset of torchvision.

    CIFAR100 has a second level, ``coarse``.
    """

    name: str = option("Name of torchvision's class: CIFAR100, EuroSAT, Flowers102, …")
    root: str = option("The folder to give to torchvision's class as root. ${VAR} is expanded.", path=True)
    download: bool = option("Download the dataset if it is missing.", False)

    @property
    def label_levels(self) -> tuple[str, ...]:
        return CIFARS[self.name].levels if self.name in CIFARS else ("label",)

    def listing(self, split: Split) -> Listing | None:
        """The images of a split.

        Raises:
            DataError: The dataset is unknown or missing.
        """
        known = sorted([*SETS, *CIFARS])
        if self.name not in known:
            raise DataError(
                f"no torchvision set {self.name!r}{nearest(self.name, known)}; use one of {', '.join(known)}"
            )
        whole = self.name in SETS and SETS[self.name].test is None
        if self.test_fraction is not None and not whole:
            raise DataError(f"{self.name} has its own test split; remove test_fraction")
        if self.name in CIFARS:
            return _list_cifar(self, CIFARS[self.name], split)
        return None if whole and split == "test" else _list_set(self, SETS[self.name], split)


def _list_cifar(source: TorchvisionSource, layout: CifarLayout, split: Split) -> Listing:
    if source.download and not (Path(source.root) / layout.folder).is_dir():
        from torchvision import datasets

        kind = getattr(datasets, source.name)
        datasets.utils.download_and_extract_archive(
            kind.url, source.root, filename=kind.filename, md5=kind.tgz_md5
        )
    cifar = read_cifar(Path(source.root), layout, split)
    read = functools.partial(_read_cifar, f"{source.name} {split}", cifar)
    return listed(cifar.labels, [stamp(path) for path in cifar.files], read)


def _read_cifar(name: str, cifar: CifarSplit) -> Iterator[RawImage]:
    for i, labels in enumerate(cifar.labels):
        yield RawImage(f"{name}[{i}]", functools.partial(np.ascontiguousarray, cifar.images[i]), labels)


def _list_set(source: TorchvisionSource, known: TorchvisionSet, split: Split) -> Listing:
    data = _open_set(source, known.train if split == "train" else known.test)
    found = getattr(data, known.labels)
    codes = [pair[1] for pair in found] if known.labels == "_samples" else np.asarray(found).tolist()
    names = [str(name) for name in getattr(data, "classes", None) or getattr(data, "categories", None) or ()]
    largest = max((code for code in codes if code is not None), default=-1)
    labels = [_label(code, names, largest) for code in codes]
    read = functools.partial(_read_set, f"{source.name} {split}", data, labels)
    return listed(labels, _stamps(data, Path(source.root)), read)


def _open_set(source: TorchvisionSource, asked: tuple[str, object] | None) -> Any:
    """torchvision's dataset, fetched only if it is missing."""
    from torchvision import datasets

    kind = getattr(datasets, source.name)
    given = {asked[0]: asked[1]} if asked is not None else {}
    try:
        try:
            return kind(source.root, **given)
        except RuntimeError:
            if not source.download:
                raise
            return kind(source.root, download=True, **given)
    except Exception as error:  # each dataset has its own checks and errors
        fetch = "" if source.download else "; check root, or set download: true to fetch the set"
        raise DataError(f"{source.name} in {source.root}: {error}{fetch}") from error


def _label(code: int | None, names: list[str], largest: int) -> Labels:
    """The class's name, or its number if the names are missing or not distinct. -1 and None mean no label."""
    if code is None or code < 0:
        return (None,)
    return (names[code] if len(set(names)) == len(names) > largest else str(code),)


def _stamps(data: Any, root: Path) -> list[Stamp]:
    """The stamps of all files in the dataset's folder."""
    own = [getattr(data, name, None) for name in ("_base_folder", "raw_folder", "_data_dir")]
    folder = next((Path(path) for path in own if path is not None), root)
    if folder == root and isinstance(getattr(data, "base_folder", None), str):
        folder = root / data.base_folder
    return [stamp(path) for path in sorted(folder.rglob("*")) if path.is_file()]


def _read_set(name: str, data: Any, labels: list[Labels]) -> Iterator[RawImage]:
    for i, row in enumerate(labels):
        yield RawImage(f"{name}[{i}]", functools.partial(_decode, f"{name}[{i}]", data, i), row)


def _decode(name: str, data: Any, i: int) -> Pixels:
    try:
        return to_rgb(data[i][0])
    except Exception as error:  # broken files make decoders raise nearly anything
        raise DataError(f"{name}: not a readable image ({error}); replace the file") from error
