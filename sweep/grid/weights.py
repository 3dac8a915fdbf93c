"""Weights that somebody else trained: a file is known by its content, a published set by its name."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9_]+_Weights\.[A-Z0-9_]+")
_IDENTITY = re.compile(r"sha256:[0-9a-f]{16}")
_FILES = (".pt", ".pth", ".safetensors")


@dataclass(frozen=True)
class GivenWeights:
    """`identity` is what an encoder's id is made of; `path` is where the file is, empty for a name."""

    identity: str
    path: str


def given_weights(text: str, folder: Path) -> GivenWeights:
    """A file, relative to the grid's folder, a name of torchvision's, or the identity of a file whose encoder
    the store has. ValueError for a missing file."""
    if _NAME.fullmatch(text) or _IDENTITY.fullmatch(text):
        return GivenWeights(text, "")
    if not text.endswith(_FILES):
        raise ValueError(f"weights: {text!r} is no file ({', '.join(_FILES)}) and no name of torchvision's")
    path = folder / Path(text).expanduser()
    try:
        stat = path.stat()
        if not path.is_file():
            raise FileNotFoundError
    except OSError:
        raise ValueError(
            f"weights: no file {path}; give the path it has now, or where its encoder is finished, the value"
            " that the results' column weights has for it (sha256:…)"
        ) from None
    return GivenWeights(f"sha256:{_digest(path, stat.st_size, stat.st_mtime_ns)}", str(path.resolve()))


@lru_cache(maxsize=64)
def _digest(path: Path, size: int, modified_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
