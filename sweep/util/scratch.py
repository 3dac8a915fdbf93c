"""Scratch folders for what no store keeps: Tune's trials, Train's groups, a half-written database, a packed
program.

They are in one folder per user, inside the system's temporary folder. Each is named after its process, so
that the next run, or the next scratch folder on that machine, removes what a killed process left.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ssl_sweep.sweep.util.files import remove_abandoned, temporary


def new_scratch(what: str) -> Path:
    """A new empty folder of this process, named after ``what``. The caller removes it."""
    root = _root()
    if not _is_ours(root):  # anyone may write to the system's folder: another user took the name
        return Path(tempfile.mkdtemp(prefix=f"ssl-sweep-{what}-"))
    remove_abandoned(root)
    folder = temporary(root, what)
    folder.mkdir(mode=0o700)
    return folder


@contextmanager
def scratch(what: str) -> Iterator[Path]:
    """A new empty folder, removed at the end of the block."""
    folder = new_scratch(what)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_scratch() -> None:
    """Remove the scratch folders that dead processes of this user left on this machine."""
    if _root().is_dir() and _is_ours(_root()):
        remove_abandoned(_root())


def _root() -> Path:
    who = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    return Path(tempfile.gettempdir()) / f"ssl-sweep-{who}"


def _is_ours(root: Path) -> bool:
    """Create the folder if necessary, and tell whether it belongs to this user only."""
    with suppress(FileExistsError):
        root.mkdir(mode=0o700)
    found = root.lstat()
    if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != os.getuid()):
        return False
    if stat.S_IMODE(found.st_mode) != 0o700:
        root.chmod(0o700)
    return True
