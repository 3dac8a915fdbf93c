"""Arrays of images and labels in an .npz file, read image by image and never unpickled."""

from __future__ import annotations

import dataclasses
import functools
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.dataset.prepared import Split
from ssl_sweep.data_ops.errors import DataError, nearest
from ssl_sweep.data_ops.sources.decode import over_white
from ssl_sweep.data_ops.sources.listing import Labels, Listing, Pixels, RawImage, label_text, listed, stamp
from ssl_sweep.data_ops.sources.options import SplitHere, option
from ssl_sweep.data_ops.sources.remote import local

_DAMAGED = (OSError, EOFError, MemoryError, ValueError, zipfile.BadZipFile, zlib.error)


@dataclasses.dataclass(frozen=True)
class NpzSource(SplitHere):
    """Arrays of images and labels, as numpy.savez writes them."""

    train: str = option("The .npz file, or its address. ${VAR} is expanded.", path=True)
    test: str | None = option("The same for the test images.", None, path=True)
    image: str = option(
        "Array of images: uint8, (N, H, W) or (N, H, W, C) with 1, 3 or 4 channels.", "images"
    )
    label: str = option(
        "Array of labels: integers or text, (N,) or (N, levels) from fine to coarse. A file of images alone"
        " needs none: its images have no label.",
        "labels",
    )
    levels: tuple[str, ...] = option("Names of the label columns, fine to coarse.", ("label",))
    group: str | None = option("Array of groups; the program keeps each group on one side of a split.", None)

    def listing(self, split: Split) -> Listing | None:
        """The images of a split.

        Raises:
            DataError: The file is not an .npz file, or an array is missing or has the wrong type or shape.
        """
        where = self.train if split == "train" else self.test
        if where is None:
            return None
        path = local(where)
        with _open(path) as file:
            with _member(path, file, self.image) as stream:
                shape = _image_shape(path, self.image, stream)
            if file.getinfo(f"{self.image}.npy").file_size < math.prod(shape):
                raise DataError(f"{path}: array {self.image!r} is cut short; write the file again")
            labels = _labels(path, file, self, shape[0])
            groups = _groups(path, file, self.group, shape[0])
        read = functools.partial(_read, path, self, shape, labels, groups)
        listing = listed(labels, [stamp(path)], read, groups)
        return dataclasses.replace(listing, always_missing=frozenset(["-1"]))


def _read(
    path: Path,
    source: NpzSource,
    shape: tuple[int, ...],
    labels: list[Labels],
    groups: list[str | None],
) -> Iterator[RawImage]:
    size = math.prod(shape[1:])
    with _open(path) as file, _member(path, file, source.image) as stream:
        _image_shape(path, source.image, stream)  # leaves the stream at the first image
        for i in range(shape[0]):
            try:
                data = stream.read(size)
            except _DAMAGED as error:
                raise DataError(
                    f"{path}: damaged from image {i} on ({error}); write the file again"
                ) from error
            name = f"{path}[{i}]"
            decode = functools.partial(_to_rgb, name, data, shape[1:])
            yield RawImage(name, decode, labels[i], groups[i])


def _to_rgb(name: str, data: bytes, shape: tuple[int, ...]) -> Pixels:
    if len(data) < math.prod(shape):
        raise DataError(f"{name}: cut short; write the file again")
    image = np.frombuffer(data, np.uint8).reshape(*shape[:2], -1)
    if image.shape[2] == 4:
        return over_white(image)
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; check the path") from error
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a readable .npz file ({error}); write it with numpy.savez") from error


def _names(file: zipfile.ZipFile) -> list[str]:
    """The names of the arrays."""
    return [member.removesuffix(".npy") for member in file.namelist() if member.endswith(".npy")]


def _member(path: Path, file: zipfile.ZipFile, name: str) -> IO[bytes]:
    names = _names(file)
    if name not in names:
        raise DataError(f"{path}: no array {name!r}{nearest(name, names)}; it has {', '.join(names)}")
    try:
        return file.open(f"{name}.npy")
    except (*_DAMAGED, RuntimeError) as error:  # a runtime error if it is encrypted
        raise DataError(f"{path}: array {name!r} is damaged ({error}); write the file again") from error


def _image_shape(path: Path, name: str, stream: IO[bytes]) -> tuple[int, ...]:
    """The shape from an array's header. Leaves the stream at the array's first byte."""
    try:
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran_order, dtype = read(stream)
    except _DAMAGED as error:
        raise DataError(f"{path}: array {name!r} is damaged ({error}); write the file again") from error
    found = f"{path}: array {name!r} is {dtype} of shape {shape}"
    if len(shape) == 3 and shape[1] in (1, 3, 4) and shape[2] > 16 and math.isqrt(shape[2]) ** 2 == shape[2]:
        side = math.isqrt(shape[2])
        raise DataError(
            f"{found}, which looks like {shape[1]} channels in rows; save "
            f"images.reshape(-1, {shape[1]}, {side}, {side}).transpose(0, 2, 3, 1)"
        )
    if len(shape) == 4 and shape[1] in (1, 3, 4) and min(shape[2:]) > 4:
        raise DataError(f"{found}, with the channels first; save images.transpose(0, 2, 3, 1)")
    if dtype != np.uint8 or len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3, 4)):
        raise DataError(f"{found}; images are uint8 (N, H, W) or (N, H, W, 1, 3 or 4)")
    if fortran_order:
        raise DataError(f"{found} in Fortran order; save np.ascontiguousarray of it")
    if min(shape) < 1:
        raise DataError(f"{found}, which has no pixels; give at least one image")
    return tuple(shape)


def _labels(path: Path, file: zipfile.ZipFile, source: NpzSource, n: int) -> list[Labels]:
    others = set(_names(file)) - {source.image, source.group}
    if source.label == "labels" and not others:
        return [(None,) * len(source.levels)] * n
    table = _small(path, file, source.label, n)
    table = table.reshape(n, -1)
    where = f"{path}: array {source.label!r}"
    if table.shape[1] != len(source.levels):
        one_hot = table.dtype.kind in "iuf" and bool(((table == 0) | (table == 1)).all())
        remedy = "name each level, fine to coarse"
        if one_hot and bool((table.sum(axis=1) == 1).all()):
            remedy = "it looks one-hot: save its argmax(axis=1)"
        raise DataError(
            f"{where} has {table.shape[1]} label levels but levels names {len(source.levels)}; {remedy}"
        )
    return [tuple(label_text(where, cell) for cell in row) for row in table.tolist()]


def _groups(path: Path, file: zipfile.ZipFile, name: str | None, n: int) -> list[str | None]:
    if name is None:
        return [None] * n
    array = _small(path, file, name, n)
    if array.ndim != 1:
        raise DataError(f"{path}: array {name!r} is of shape {array.shape}; give one group per image")
    return [label_text(f"{path}: array {name!r}", cell) for cell in array.tolist()]


def _small(path: Path, file: zipfile.ZipFile, name: str, n: int) -> npt.NDArray[Any]:
    """An array of labels or groups, read whole."""
    with _member(path, file, name) as stream:
        try:
            array: npt.NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
        except _DAMAGED as error:
            remedy = "save its astype(str)" if "Object arrays" in str(error) else "write the file again"
            raise DataError(f"{path}: array {name!r} cannot be read ({error}); {remedy}") from error
    if array.dtype.kind == "S":
        raise DataError(f"{path}: array {name!r} is bytes ({array.dtype}); save its astype(str)")
    if array.dtype.kind not in "iufU" or array.ndim not in (1, 2) or len(array) != n:
        raise DataError(
            f"{path}: array {name!r} is {array.dtype} of shape {array.shape}; expected {n} integers or texts"
        )
    return array
