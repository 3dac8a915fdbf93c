"""Samples in tar shards, by WebDataset's convention: files with one name up to the first dot are a sample.

The shards are read with the standard library. Nothing is extracted, so no member can write anywhere, and an
index of offsets allows reading every image separately.
"""

from __future__ import annotations

import dataclasses
import functools
import glob
import json
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ssl_sweep.data_ops.dataset.prepared import Split
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.sources.decode import decode_rgb
from ssl_sweep.data_ops.sources.listing import (
    Labels,
    Listing,
    Pixels,
    RawImage,
    label_text,
    listed,
    printable,
    read_otherwise,
    stamp,
)
from ssl_sweep.data_ops.sources.options import SplitHere, option
from ssl_sweep.data_ops.sources.remote import is_remote, remote_files
from ssl_sweep.data_ops.sources.whole_labels import READ, without_point

_IMAGES = frozenset(["bmp", "gif", "jpeg", "jpg", "pgm", "png", "ppm", "tif", "tiff", "webp"])
_BLOCK = 512  # bytes: tar's unit
_BRACES = re.compile(r"\{([^{}]*)\}")


@dataclasses.dataclass(frozen=True)
class WebDatasetSource(SplitHere):
    """Tar shards with key.jpg and key.cls or key.json.

    A sample is key.jpg (or png, webp, …) with its label in key.cls or its labels in the object key.json.
    Without either, or with null or "", it has no label. Its files may be anywhere in the shard; hidden files
    (``._a.jpg``) are skipped.
    """

    train: str = option(
        "A shard, a folder of *.tar, a glob, x-{000..012}.tar or an address. ${VAR} is expanded.", path=True
    )
    test: str | None = option("The same for the test images.", None, path=True)
    levels: tuple[str, ...] = option("Keys of key.json, fine to coarse.", ("label",))
    group: str | None = option(
        "Key of key.json with the group; the program keeps each group on one side of a split.", None
    )

    def listing(self, split: Split) -> Listing | None:
        """The images of a split.

        Raises:
            DataError: There are no shards or samples, a tar is broken, a member is a link or points outside,
                a sample has two images or labels, or a label has no image.
        """
        where = self.train if split == "train" else self.test
        if where is None:
            return None

        paths = shards(where)
        samples = _all_samples(where, paths, self)
        whole = self._without_points(split, samples)
        samples = whole or samples
        labels = [sample.labels for sample in samples]
        listing = listed(labels, [stamp(path) for path in paths], functools.partial(_read, samples))
        return read_otherwise(listing, READ) if whole else listing

    def _without_points(self, split: Split, samples: list[_Sample]) -> list[_Sample] | None:
        """The samples with "1" for "1.0" in .cls files; None if nothing changes. (JSON has types.)"""
        if not any(sample.from_cls for sample in samples):
            return None

        def there() -> list[str | None]:
            where = self.test if split == "train" else self.train
            return [] if where is None else [s.labels[0] for s in _all_samples(where, shards(where), self)]

        whole = without_point([sample.labels[0] for sample in samples], there)
        if whole is None:
            return None
        return [
            dataclasses.replace(sample, labels=(label,)) if sample.from_cls else sample
            for sample, label in zip(samples, whole, strict=True)
        ]


@dataclasses.dataclass(frozen=True, slots=True)
class _Sample:
    shard: Path
    key: str
    offset: int
    size: int
    labels: Labels
    group: str | None
    from_cls: bool


def shards(where: str) -> list[Path]:
    """The tar files of a name, a folder, a glob or a brace expression, in order.

    Raises:
        DataError: No shard was found.
    """
    names = list(_expand(where))
    if is_remote(where):
        return [path for name in names for path in remote_files(name, ".tar")]
    found: list[Path] = []
    for name in names:
        path = Path(name)
        matches = sorted(path.glob("*.tar")) if path.is_dir() else sorted(map(Path, glob.glob(name)))
        if path.is_file():  # a name may contain brackets
            matches = [path]
        if not matches:
            raise DataError(f"{name}: no tar shards here; check the path")
        found += matches
    return found


def _expand(where: str) -> Iterator[str]:
    """Expand {a,b} and {000..012} in a name, as a shell does."""
    found = _BRACES.search(where)
    if found is None:
        yield where
        return
    bounds = re.fullmatch(r"(\d+)\.\.(\d+)", found[1])
    if bounds:
        width = len(bounds[1])
        choices = [f"{i:0{width}}" for i in range(int(bounds[1]), int(bounds[2]) + 1)]
    else:
        choices = found[1].split(",")
    for choice in choices:
        yield from _expand(where[: found.start()] + choice + where[found.end() :])


def _all_samples(where: str, paths: list[Path], source: WebDatasetSource) -> list[_Sample]:
    samples = [sample for path in paths for sample in _samples(path, source)]
    if not samples:
        raise DataError(f"{where}: no images in {len(paths)} shards; check the path")
    return samples


def _samples(path: Path, source: WebDatasetSource) -> list[_Sample]:
    by_key: dict[str, list[tarfile.TarInfo]] = {}
    for member in _members(path):
        if not member.name.rpartition("/")[2].startswith("."):  # as macOS adds to archives
            by_key.setdefault(_key(member.name), []).append(member)
    samples = []
    with path.open("rb") as shard:
        for key, members in by_key.items():
            name = f"{path}, {printable(key)}"
            image = _only(name, [m for m in members if _extension(m.name).rpartition(".")[2] in _IMAGES])
            text = {}
            for kind in ("json", "cls"):
                label = _only(name, [m for m in members if _extension(m.name) == kind])
                if label is not None:
                    if image is None:
                        kinds = " ".join(sorted(_IMAGES))
                        raise DataError(
                            f"{path}: {printable(label.name)!r} is a label without an image ({kinds}) in the "
                            "shard; write both into one shard"
                        )
                    text[kind] = os.pread(shard.fileno(), label.size, label.offset_data)
            if image is None:
                continue
            labels, group_name, from_cls = _fields(name, text.get("json"), text.get("cls"), source)
            samples.append(_Sample(path, name, image.offset_data, image.size, labels, group_name, from_cls))
    return samples


def _only(name: str, members: list[tarfile.TarInfo]) -> tarfile.TarInfo | None:
    """The only member, or None. Raises DataError if a sample has two members of a kind."""
    if len(members) > 1:
        one, two = (printable(member.name) for member in members[:2])
        raise DataError(
            f"{name}: {one!r} and {two!r} belong to one sample, because a key ends at the first dot of a "
            "file name; give each image its own key, without dots"
        )
    return members[0] if members else None


def _members(path: Path) -> list[tarfile.TarInfo]:
    """The plain files of a tar, from their headers."""
    try:
        with tarfile.open(path, "r:", errors="surrogateescape") as tar:
            members = tar.getmembers()
            # tarfile accepts a shard that ends anywhere; a complete one ends with blocks of zeros
            end = max((m.offset_data + -(-m.size // _BLOCK) * _BLOCK for m in members), default=0)
            whole = _block_at(path, end) == bytes(_BLOCK)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise DataError(
            f"{path}: not a readable, uncompressed tar ({error}); write the shard again"
        ) from error
    if not whole:
        raise DataError(f"{path}: the shard is cut short; write or download it again")
    for member in members:
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts:
            raise DataError(
                f"{path}: member {printable(member.name)!r} points outside the shard; do not trust the file"
            )
        if member.issparse() or not (member.isreg() or member.isdir()):
            raise DataError(
                f"{path}: member {printable(member.name)!r} is a link or a device; write plain files"
            )
    return [member for member in members if member.isreg()]


def _block_at(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(_BLOCK)


def _key(name: str) -> str:
    folder, _, base = name.rpartition("/")
    return f"{folder}/{base.partition('.')[0]}".lstrip("/")


def _extension(name: str) -> str:
    return name.rpartition("/")[2].partition(".")[2].lower()


def _fields(
    name: str, as_json: bytes | None, as_cls: bytes | None, source: WebDatasetSource
) -> tuple[Labels, str | None, bool]:
    """(labels, group, whether the label comes from a .cls file) of a sample."""
    if as_json is None:
        if as_cls is None:
            return (None,) * len(source.levels), None, False
        if len(source.levels) > 1:
            raise DataError(
                f"{name}: a .cls file has one label but levels names {len(source.levels)}; use .json"
            )
        return (as_cls.decode("utf-8", "backslashreplace").strip() or None,), None, True
    try:
        content = json.loads(as_json)
    except ValueError as error:
        raise DataError(f"{name}: its .json cannot be read ({error}); correct it") from error
    if not isinstance(content, dict):
        raise DataError(f"{name}: its .json is not an object; write one with {', '.join(source.levels)}")
    cells = [content.get(level) for level in source.levels]
    from_cls = cells == [None] and as_cls is not None
    if from_cls and as_cls is not None:
        cells = [as_cls.decode("utf-8", "backslashreplace").strip() or None]
    group = content.get(source.group) if source.group is not None else None
    return tuple(label_text(name, cell) for cell in cells), label_text(name, group), from_cls


def _read(samples: list[_Sample]) -> Iterator[RawImage]:
    for sample in samples:
        yield RawImage(sample.key, functools.partial(_decode, sample), sample.labels, sample.group)


def _decode(sample: _Sample) -> Pixels:
    try:
        with sample.shard.open("rb") as shard:
            data = os.pread(shard.fileno(), sample.size, sample.offset)
    except OSError as error:
        raise DataError(f"{sample.key}: cannot be read ({error.strerror}); restore the shard") from error
    return decode_rgb(data, sample.key)
