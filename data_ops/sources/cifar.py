"""CIFAR's published batches. They are pickles, and the unpickler here can only build arrays."""

from __future__ import annotations

import dataclasses
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.errors import DataError


@dataclasses.dataclass(frozen=True)
class CifarSplit:
    """The images and labels of a split."""

    images: npt.NDArray[np.uint8]
    """(N, 32, 32, 3) pixels."""
    labels: list[tuple[str, ...]]
    """The class names of each image, fine to coarse."""
    files: list[Path]
    """The files that were read."""


@dataclasses.dataclass(frozen=True)
class CifarLayout:
    """How CIFAR-10 or CIFAR-100 is stored."""

    folder: str
    train: tuple[str, ...]
    """Files of the training split."""
    test: tuple[str, ...]
    """Files of the test split."""
    meta: str
    """The file with the class names."""
    levels: tuple[str, ...]
    label_keys: tuple[str, ...]
    """The key of the labels in a batch, for each level."""
    name_keys: tuple[str, ...]
    """The key of the class names in ``meta``, for each level."""


CIFAR10 = CifarLayout(
    folder="cifar-10-batches-py",
    train=tuple(f"data_batch_{i}" for i in range(1, 6)),
    test=("test_batch",),
    meta="batches.meta",
    levels=("label",),
    label_keys=("labels",),
    name_keys=("label_names",),
)
CIFAR100 = CifarLayout(
    folder="cifar-100-python",
    train=("train",),
    test=("test",),
    meta="meta",
    levels=("label", "coarse"),
    label_keys=("fine_labels", "coarse_labels"),
    name_keys=("fine_label_names", "coarse_label_names"),
)


def read_cifar(root: Path, layout: CifarLayout, split: str) -> CifarSplit:
    """Read one split.

    Raises:
        DataError: A file is missing, or is not a batch of CIFAR.
    """
    folder = root / layout.folder
    files = [folder / name for name in (layout.train if split == "train" else layout.test)]
    meta = folder / layout.meta
    names = [_entry(meta, _load(meta), key, list) for key in layout.name_keys]
    images, labels = [], []
    for file in files:
        batch = _load(file)
        data = _entry(file, batch, "data", np.ndarray)
        if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3072:
            raise DataError(f"{file}: data is {data.dtype} of shape {data.shape}; expected uint8 (N, 3072)")
        images.append(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        columns = [_entry(file, batch, key, list) for key in layout.label_keys]
        if any(len(column) != len(data) for column in columns):
            raise DataError(f"{file}: {len(data)} images but a different number of labels; download it again")
        try:
            labels += [
                tuple(str(n[c]) for n, c in zip(names, row, strict=True))
                for row in zip(*columns, strict=True)
            ]
        except (IndexError, TypeError) as error:
            raise DataError(
                f"{file}: a label is out of the range of {meta.name}; download it again"
            ) from error
    return CifarSplit(np.concatenate(images), labels, [*files, meta])


class _ArraysOnly(pickle.Unpickler):
    """Finds only what is needed to rebuild a NumPy array, so that a pickle cannot call anything else."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np.empty(0).__reduce__()[0]
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):  # bytes in an old pickle written by Python 3
            return _latin1
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _latin1(text: str, codec: str) -> bytes:
    return text.encode("latin1")


def _load(path: Path) -> object:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); set root to the folder that contains CIFAR's folder"
        ) from error
    unpickle: Callable[[], object] = _ArraysOnly(io.BytesIO(data), encoding="latin1").load
    try:
        return unpickle()
    except Exception as error:  # damaged pickles raise nearly anything
        raise DataError(
            f"{path}: not a batch of CIFAR ({error}); nothing in it was run. Download it again"
        ) from error


def _entry(path: Path, batch: object, key: str, kind: type) -> Any:
    found = batch.get(key) if isinstance(batch, dict) else None
    if not isinstance(found, kind):
        raise DataError(f"{path}: no {key!r} in it; download it again")
    return found
