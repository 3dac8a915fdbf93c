"""Files that appear whole or not at all, and what a killed writer left of them."""

from __future__ import annotations

import os
import platform
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def temporary(folder: Path, name: str) -> Path:
    """A name that says who writes it, so that what a dead process left can be told from work in progress."""
    plain = name.replace(".", "-")
    return folder / f".{plain}.{platform.node()}.{os.getpid()}.{uuid.uuid4().hex}.tmp"


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name of one's own to write under; the file appears under ``path`` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = temporary(path.parent, path.name)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def remove_abandoned(folder: Path) -> None:
    """Delete the temporary files in ``folder`` whose writer is a process of this machine that is no more."""
    for leftover in folder.glob(".*.tmp"):
        if _abandoned(leftover):
            leftover.unlink(missing_ok=True)


def _abandoned(leftover: Path) -> bool:
    host, _, writer = leftover.name.removesuffix(".tmp").split(".", 2)[2].rpartition(".")[0].rpartition(".")
    if host != platform.node() or not writer.isdigit():
        return False
    try:
        os.kill(int(writer), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
