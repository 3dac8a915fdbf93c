"""The bytes of a file, named by their SHA-256."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path


def digest(path: Path) -> str:
    """Of the file as it is now, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unchanged(path: Path, size: int, expected: str) -> bool:
    """Whether a file has this size and digest ("" is not known). A file that has not been touched since is
    read once per process. FileNotFoundError where it is not there."""
    found = os.stat(path)
    if found.st_size != size:
        return False
    return not expected or _digest(str(path), found.st_size, found.st_mtime_ns, found.st_ino) == expected


@lru_cache(maxsize=4096)
def _digest(path: str, size: int, modified: int, inode: int) -> str:
    return digest(Path(path))
