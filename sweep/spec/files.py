"""The files that each stage leaves, by their names inside its folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ssl_sweep.data_ops.dataset.prepared import MANIFEST, SPLITS
from ssl_sweep.sweep.spec.specs import ANSWERS, Stage

CHECKPOINT = "checkpoint/checkpoint.pt"


def dataset_files(*arrays: str) -> tuple[str, ...]:
    """The description of a prepared dataset and, for both splits, some of its ``arrays``: "" for the images,
    "ids", "keys", "labels"."""
    parts = [f"_{array}" if array else "" for array in arrays]
    return (f"data/{MANIFEST}", *(f"data/{split}{part}.npy" for split in SPLITS for part in parts))


COMPARED = (*dataset_files("keys", "labels"), "data/train_groups.npy")
"""The files of a prepared dataset that planning reads. Its images are not among them."""
FILES: Mapping[Stage, tuple[str, ...]] = {
    "prepare": dataset_files("", "ids", "keys", "labels"),
    "pretrain": ("encoder.safetensors", "encoder.json"),
    "features": ("x.npy", "ids.npy"),
    "probe": (),
    "finetune": (),
}
"""Files inside a stage's folder that every result has."""
SOMETIMES: Mapping[Stage, tuple[str, ...]] = {
    "prepare": ("data/train_groups.npy", "data/test_groups.npy"),
    "pretrain": ("head.safetensors",),
}
"""Files that only some results have."""
SHOWN = ("subset.npy", "images.png", "epochs.jsonl", "log.txt")
"""Files to look at, which no other stage reads. They have no checksum and may change at any time."""


def result_files(stage: Stage, id: str, root: Path) -> Iterator[str]:
    """Names of a result's files relative to ``root``, the store's folder: the required ones, and the optional
    ones that exist."""
    if stage in ANSWERS:
        yield f"predictions/{id}.parquet"
    yield from (f"{stage}/{id}/{name}" for name in FILES[stage])
    for name in SOMETIMES.get(stage, ()):
        if (root / stage / id / name).exists():
            yield f"{stage}/{id}/{name}"
