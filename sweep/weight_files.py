"""Weights that somebody else trained: a file is known by its content, a published set by its name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_FILES = (".pt", ".pth", ".safetensors")


@dataclass(frozen=True)
class GivenWeights:
    """`identity` is what an encoder's id is made of; `path` is where the file is, empty for a name."""

    identity: str
    path: str


def given_weights(text: str, folder: Path) -> GivenWeights:
    """A file, relative to the grid's folder, or a name of torchvision's. ValueError for a missing file."""
    if not text.endswith(_FILES):
        return GivenWeights(text, "")
    path = folder / Path(text).expanduser()
    try:
        stat = path.stat()
    except OSError:
        raise ValueError(f"weights: no file {path}") from None
    return GivenWeights(f"sha256:{_digest(path, stat.st_size, stat.st_mtime_ns)}", str(path.resolve()))


@lru_cache(maxsize=64)
def _digest(path: Path, size: int, modified_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
