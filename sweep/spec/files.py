"""Which files a stage leaves, by their names inside its folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ssl_sweep.sweep.spec.specs import ANSWERS, Stage

CHECKPOINT = "checkpoint/checkpoint.pt"

FILES: Mapping[Stage, tuple[str, ...]] = {
    "prepare": (
        "data/dataset.json",
        *(
            f"data/{split}{part}.npy"
            for split in ("train", "test")
            for part in ("", "_ids", "_keys", "_labels")
        ),
    ),
    "pretrain": ("encoder.safetensors", "encoder.json"),
    "features": ("x.npy", "ids.npy"),
    "probe": (),
    "finetune": (),
}
"""The files, inside a stage's folder, without which its result is not there."""
SOMETIMES: Mapping[Stage, tuple[str, ...]] = {
    "prepare": ("data/train_groups.npy", "data/test_groups.npy"),
    "pretrain": ("head.safetensors",),
}
"""Those that some results have besides."""
SHOWN = ("subset.npy", "images.png", "epochs.jsonl", "log.txt")
"""Files to look at, which no other stage reads: they have no checksum, and may be written to at any time."""


def result_files(stage: Stage, id: str, root: Path) -> Iterator[str]:
    """The files of a result, relative to `root`, the store's folder: all it must have, and of those that it
    may have what is there."""
    if stage in ANSWERS:
        yield f"predictions/{id}.parquet"
    yield from (f"{stage}/{id}/{name}" for name in FILES[stage])
    for name in SOMETIMES.get(stage, ()):
        if (root / stage / id / name).exists():
            yield f"{stage}/{id}/{name}"
