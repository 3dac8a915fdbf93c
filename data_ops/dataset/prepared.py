"""A prepared dataset on disk: its manifest and read access. ``preparation.prepare`` writes it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.dataset.passed_over import PassedOver
from ssl_sweep.data_ops.errors import DataError

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
FIRST_RULE = "pillow-bilinear-antialias-centre-square-1"
"""The rule of manifests that do not name theirs."""
MANIFEST = "dataset.json"  # written last: a folder without it is not a dataset


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetManifest:
    """What a prepared dataset contains."""

    fingerprint: str
    """Changes with any image, label, class name, group or skipped image, with the size and the resize rule,
    and with nothing else."""
    size: int
    """The side of the images in pixels."""
    n_train: int
    n_test: int
    levels: tuple[str, ...]
    """Names of the label levels, fine to coarse."""
    class_names: tuple[tuple[str, ...], ...]
    """``class_names[i]`` are the names of the classes at ``levels[i]``."""
    parents: tuple[tuple[int, ...], ...]
    """``parents[i - 1][f]`` is the class index at level i of fine class f."""
    n_labeled: int = -1
    """Training images that have a label. Older manifests lack it: there, all have one."""
    skipped: tuple[str, ...] = ()
    """One "name: reason" per image left out: it cannot be decoded, or is unlabelled in a held-out group."""
    pixels: str = FIRST_RULE
    """How source images became these: ``sources.decode.RESIZE_RULE`` when they were prepared."""
    class_counts: tuple[tuple[int, ...], ...] = ()
    """``class_counts[i][c]`` is the number of training images of class c at level i."""
    passed_over: tuple[PassedOver, ...] = ()
    """What was found beside the images. It is not in the fingerprint."""

    def __post_init__(self) -> None:
        if self.n_labeled < 0:
            object.__setattr__(self, "n_labeled", self.n_train)

    def n_classes(self, level: str | None = None) -> int:
        """Number of classes at a level; the finest by default."""
        return len(self.class_names[level_index(self.levels, level)])

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> DatasetManifest:
        fields = json.loads(text)
        return cls(
            **{
                **fields,
                "levels": tuple(fields["levels"]),
                "class_names": tuple(map(tuple, fields["class_names"])),
                "parents": tuple(map(tuple, fields["parents"])),
                "skipped": tuple(fields.get("skipped", ())),
                "class_counts": tuple(map(tuple, fields.get("class_counts", ()))),
                "passed_over": tuple(PassedOver(**one) for one in fields.get("passed_over", ())),
            }
        )


def level_index(levels: tuple[str, ...], level: str | None) -> int:
    """Position of a level name; None means the finest.

    Raises:
        DataError: The dataset has no such level.
    """
    if level is None:
        return 0
    if level not in levels:
        raise DataError(f"no label level {level!r}; this dataset has {', '.join(levels)} (fine to coarse)")
    return levels.index(level)


class PreparedDataset:
    """Read access to a prepared folder. Row r of every array is the same image; rows are sorted by id."""

    def __init__(self, directory: str | Path) -> None:
        """Read the manifest.

        Raises:
            DataError: The folder does not hold a finished dataset.
        """
        self.directory = Path(directory)
        try:
            text = (self.directory / MANIFEST).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise DataError(f"{self.directory}: no {MANIFEST}; prepare the dataset first") from None
        self.manifest = DatasetManifest.from_json(text)

    def images(self, split: Split) -> npt.NDArray[np.uint8]:
        """(N, S, S, 3) uint8 RGB, memory-mapped and read-only."""
        images: npt.NDArray[np.uint8] = np.load(self._file(split), mmap_mode="r", allow_pickle=False)
        return images

    def ids(self, split: Split) -> npt.NDArray[np.str_]:
        """(N,) ids: 32 hex digits, the decoded pixels' hash; exact copies in a split end in -1, -2, …"""
        return self.id_bytes(split).astype(np.str_)

    def id_bytes(self, split: Split) -> npt.NDArray[np.bytes_]:
        """(N,) the ids as ASCII, memory-mapped: a quarter of the memory that ``ids`` takes."""
        ids: npt.NDArray[np.bytes_] = np.load(self._file(split, "_ids"), mmap_mode="r", allow_pickle=False)
        return ids

    def keys(self, split: Split) -> npt.NDArray[np.uint64]:
        """(N,) one 64-bit number per id: the seed of every draw and augmentation of the image."""
        keys: npt.NDArray[np.uint64] = np.load(self._file(split, "_keys"), allow_pickle=False)
        return keys

    def labels(self, split: Split, level: str | None = None) -> npt.NDArray[np.int64]:
        """(N,) class indices at a level, by default the finest; -1 for training images without a label."""
        table: npt.NDArray[np.int64] = np.load(self._file(split, "_labels"), allow_pickle=False)
        return np.ascontiguousarray(table[:, level_index(self.manifest.levels, level)])

    def groups(self, split: Split) -> npt.NDArray[np.int64] | None:
        """(N,) codes of the images' groups, -1 for images without one; None if the source has no groups.

        A group has the same code in both splits.
        """
        file = self._file(split, "_groups")
        if not file.exists():
            return None
        codes: npt.NDArray[np.int64] = np.load(file, allow_pickle=False)
        return codes

    def _file(self, split: Split, what: str = "") -> Path:
        if split not in SPLITS:
            raise DataError(f"no split {split!r}; a dataset has {' and '.join(SPLITS)}")
        return self.directory / f"{split}{what}.npy"
