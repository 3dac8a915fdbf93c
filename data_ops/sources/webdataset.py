"""Samples in tar shards, by WebDataset's convention: files with one name up to the first dot are a sample.

What a file is, its last suffix says: ``a.v2.png`` and ``a.v2.cls`` are the image and the label of ``a``.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ssl_sweep.data_ops.dataset.passed_over import Tally
from ssl_sweep.data_ops.dataset.prepared import Split
from ssl_sweep.data_ops.errors import DataError, nearest
from ssl_sweep.data_ops.sources.decode import decode_rgb
from ssl_sweep.data_ops.sources.image_kinds import HEAD, described, junk, kind_of, starts_as_image
from ssl_sweep.data_ops.sources.labels import clean_text
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
from ssl_sweep.data_ops.sources.patterns import files_of
from ssl_sweep.data_ops.sources.tar_members import Member, members_of

_FIRST = frozenset(["bmp", "gif", "jpeg", "jpg", "pgm", "png", "ppm", "tif", "tiff", "webp"])
"""Images that earlier versions found."""
_LABELS = ("json", "cls")
_TRIED = 100  # texts beside images that are read to see whether they are labels


@dataclasses.dataclass(frozen=True)
class WebDatasetSource(SplitHere):
    """Tar shards with key.jpg and key.cls or key.json.

    A sample is key.jpg (or any other image) with its label in key.cls or its labels in the object key.json.
    Without either, or with a missing value, it has no label. Its files may be anywhere in the shard.
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
                a sample has two images or labels, a label has no image, or no sample has a label that is
                read.
        """
        where = self.train if split == "train" else self.test
        if where is None:
            return None
        tally, keys = Tally(), Counter[str]()
        paths = files_of(where, ".tar", tally)
        samples = [sample for path in paths for sample in _Shard(path, self, tally, keys).samples()]
        if not samples:
            beside = "".join(f", but {one}" for one in tally.found[:1])
            raise DataError(f"{where}: no images in {len(paths)} shards{beside}; check the path")
        _check_labels(where, self, samples, keys)
        _count_texts(samples, tally)
        listing = listed(
            [sample.labels for sample in samples],
            [stamp(path) for path in paths],
            functools.partial(_read, samples),
            [sample.group for sample in samples],
            tally.found,
        )
        return read_otherwise(listing, "every kind of image") if any(s.newly for s in samples) else listing


@dataclasses.dataclass(frozen=True, slots=True)
class _Sample:
    shard: Path
    name: str
    offset: int
    size: int
    labels: Labels
    group: str | None
    newly: bool
    """Whether earlier versions did not find it, or not its label."""
    beside: tuple[Member, ...]
    """Texts beside an image without a label."""


class _Shard:
    """The samples of a shard. Counts what is passed over, and the keys of its .json files."""

    def __init__(self, path: Path, source: WebDatasetSource, tally: Tally, keys: Counter[str]) -> None:
        self._path, self._source, self._tally, self._keys = path, source, tally, keys

    def samples(self) -> Iterator[_Sample]:
        by_key: dict[tuple[int, str], list[Member]] = {}
        for member in members_of(self._path):
            reason = next(filter(None, map(junk, member.name.split("/"))), "")
            if reason:
                self._pass_over(member, reason)
            else:
                by_key.setdefault((member.archive, _key(member)), []).append(member)
        with self._path.open("rb") as self._file:
            for (_, key), members in by_key.items():
                sample = self._sample(f"{self._path}, {printable(key)}", members)
                if sample is not None:
                    yield sample

    def _sample(self, name: str, members: list[Member]) -> _Sample | None:
        image = self._image(name, members)
        rest = [member for member in members if member is not image]
        texts = {}
        newly = image is not None and (image.archive > 0 or _suffix(image) not in _FIRST)
        for kind in _LABELS:
            label = _label(name, kind, image, rest)
            if label is None:
                continue
            if image is None:
                raise DataError(
                    f"{self._path}: {printable(label.name)!r} is a label without an image in the shard; "
                    "write both into one shard"
                )
            rest.remove(label)
            newly = newly or _middle(label) != ""
            texts[kind] = self._bytes(label)
        beside = () if texts or image is None else tuple(m for m in rest if kind_of(m.base) == "text")
        for member in rest:
            if member not in beside:
                self._pass_over(member, beside=image is not None)
        if image is None:
            return None
        labels, group = _fields(name, texts.get("json"), texts.get("cls"), self._source, self._keys)
        name = f"{self._path}, {printable(image.name)}"
        return _Sample(self._path, name, image.offset, image.size, labels, group, newly, beside)

    def _image(self, name: str, members: list[Member]) -> Member | None:
        """The file with an image's suffix, or else the one whose first bytes are an image's."""
        kinds = {member: kind_of(member.base) for member in members}
        images = [member for member, kind in kinds.items() if kind == "image"]
        return _only(name, images) or _only(
            name,
            [
                member
                for member, kind in kinds.items()
                if kind == "unknown" and starts_as_image(self._bytes(member, HEAD))
            ],
        )

    def _bytes(self, member: Member, most: int | None = None) -> bytes:
        size = member.size if most is None else min(member.size, most)
        return os.pread(self._file.fileno(), size, member.offset)

    def _pass_over(self, member: Member, reason: str = "", *, beside: bool = False) -> None:
        where = f"{self._path}, {printable(member.name)}"
        if reason:
            self._tally.add(reason, where, "junk")
            return
        sidecar = beside or kind_of(member.base) == "text"
        self._tally.add(described(member.base), where, "sidecar" if sidecar else "lost")


def _check_labels(where: str, source: WebDatasetSource, samples: list[_Sample], keys: Counter[str]) -> None:
    """Raise DataError if a key is in no .json file, or if the labels are in files that are not read."""
    wanted = [*source.levels, *([source.group] if source.group is not None else [])]
    by_json = [
        key for key in wanted if keys and key not in keys and not (key == wanted[0] and _any_label(samples))
    ]
    if by_json:
        raise DataError(
            f"{where}: no .json has the key {by_json[0]!r}{nearest(by_json[0], keys)}; they have "
            f"{', '.join(sorted(keys))}"
        )
    bare = [sample for sample in samples if sample.beside]
    if len(bare) < len(samples) / 2 or any(label for sample in samples for label in sample.labels):
        return
    texts = []
    for sample in bare[:_TRIED]:
        with sample.shard.open("rb") as file:
            data = os.pread(file.fileno(), sample.beside[0].size, sample.beside[0].offset)
        texts.append(clean_text(data.decode("utf-8", "backslashreplace")))
    kind = described(bare[0].beside[0].base)
    if kind.startswith("'.label") or len(set(texts)) <= len(texts) / 2:  # captions are all different
        raise DataError(
            f"{where}: no image has a label, but {len(bare):,} have {kind} beside them, which are not read; "
            "write labels as key.cls or key.json"
        )


def _count_texts(samples: list[_Sample], tally: Tally) -> None:
    """Count the texts beside images without a label. If other images have labels, they may be labels, too."""
    labelled = _any_label(samples)
    for sample in samples:
        for member in sample.beside:
            kind, place = described(member.base), f"{sample.shard}, {printable(member.name)}"
            if labelled:
                tally.add(f"{kind} of images without a label", place, "lost")
            else:
                tally.add(kind, place, "sidecar")


def _any_label(samples: list[_Sample]) -> bool:
    return any(sample.labels[0] is not None for sample in samples)


def _label(name: str, kind: str, image: Member | None, members: list[Member]) -> Member | None:
    """The label file of a kind: the one named like the image, or else the one named like the key."""
    found = [member for member in members if _suffix(member) == kind]
    for middle in dict.fromkeys(["" if image is None else _middle(image), ""]):
        if named := [member for member in found if _middle(member) == middle]:
            return _only(name, named)
    return _only(name, found)


def _only(name: str, members: list[Member]) -> Member | None:
    """The only member, or None. Raises DataError if a sample has two members of a kind."""
    if len(members) > 1:
        one, two = (printable(member.name) for member in members[:2])
        if one == two:
            raise DataError(f"{name}: {one!r} is in the shard twice; write the shard again with one of them")
        raise DataError(
            f"{name}: {one!r} and {two!r} belong to one sample, because a key ends at the first dot of a "
            "file name; give each image its own key, without dots"
        )
    return members[0] if members else None


def _key(member: Member) -> str:
    folder, _, base = os.path.normpath(member.name).rpartition("/")
    return f"{folder}/{base.partition('.')[0]}".lstrip("/")


def _suffix(member: Member) -> str:
    return os.path.splitext(member.base)[1].lower().removeprefix(".")


def _middle(member: Member) -> str:
    """What is between a member's key and its suffix."""
    return member.base.partition(".")[2].rpartition(".")[0]


def _fields(
    name: str, as_json: bytes | None, as_cls: bytes | None, source: WebDatasetSource, keys: Counter[str]
) -> tuple[Labels, str | None]:
    """The labels and the group of a sample."""
    if as_json is None:
        if as_cls is None:
            return (None,) * len(source.levels), None
        if len(source.levels) > 1:
            raise DataError(
                f"{name}: a .cls file has one label but levels names {len(source.levels)}; use .json"
            )
        return (_class(name, as_cls),), None
    try:
        content = json.loads(as_json)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: its .json cannot be read ({error}); correct it") from error
    if not isinstance(content, dict):
        raise DataError(f"{name}: its .json is not an object; write one with {', '.join(source.levels)}")
    keys.update(content.keys())
    cells = [content.get(level) for level in source.levels]
    if cells == [None] and as_cls is not None:
        cells = [_class(name, as_cls)]
    group = content.get(source.group) if source.group is not None else None
    return tuple(label_text(name, cell) for cell in cells), label_text(name, group)


def _class(name: str, as_cls: bytes) -> str | None:
    if as_cls.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{name}: its .cls is UTF-16; save it as UTF-8")
    return as_cls.decode("utf-8", "backslashreplace").strip() or None


def _read(samples: list[_Sample]) -> Iterator[RawImage]:
    for sample in samples:
        yield RawImage(sample.name, functools.partial(_decode, sample), sample.labels, sample.group)


def _decode(sample: _Sample) -> Pixels:
    try:
        with sample.shard.open("rb") as shard:
            data = os.pread(shard.fileno(), sample.size, sample.offset)
    except OSError as error:
        raise DataError(f"{sample.name}: cannot be read ({error.strerror}); restore the shard") from error
    return decode_rgb(data, sample.name)
