"""The files that each stage leaves, by their names inside its folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ssl_sweep.sweep.spec.specs import SPECS, Stage, dataset_files

CHECKPOINT = "checkpoint/checkpoint.pt"


COMPARED = (*dataset_files("keys", "labels"), "data/train_groups.npy")
"""The files of a prepared dataset that planning reads. Its images are not among them."""
FILES: Mapping[Stage, tuple[str, ...]] = {name: kind.FILES for name, kind in SPECS.items()}
"""Files inside a stage's folder that every result has."""
SHOWN = ("subset.npy", "images.png", "epochs.jsonl", "log.txt")
"""Files to look at, which no other stage reads. They have no checksum and may change at any time."""


def result_files(stage: Stage, id: str, root: Path) -> Iterator[str]:
    """Names of a result's files relative to ``root``, the store's folder: the required ones, and the optional
    ones that exist."""
    if SPECS[stage].ANSWERS:
        yield f"predictions/{id}.parquet"
    yield from (f"{stage}/{id}/{name}" for name in FILES[stage])
    for name in SPECS[stage].SOMETIMES:
        if (root / stage / id / name).exists():
            yield f"{stage}/{id}/{name}"
