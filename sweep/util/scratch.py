"""Folders for what no store keeps: Tune's trials, Train's groups, a database in the making, a packed program.

They are in one folder of this user's in the system's temporary one, and named after their process: what a
killed one left is removed by the next run, or by whoever makes one next on that machine.
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
    """A folder of this process's, empty; whoever asks removes it."""
    root = _root()
    if not _is_ours(root):  # in a folder that everybody may write to, somebody else was first
        return Path(tempfile.mkdtemp(prefix=f"ssl-sweep-{what}-"))
    remove_abandoned(root)
    folder = temporary(root, what)
    folder.mkdir(mode=0o700)
    return folder


@contextmanager
def scratch(what: str) -> Iterator[Path]:
    """A folder for the length of the block."""
    folder = new_scratch(what)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_scratch() -> None:
    """Remove what dead processes of this user left on this machine."""
    if _root().is_dir() and _is_ours(_root()):
        remove_abandoned(_root())


def _root() -> Path:
    who = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    return Path(tempfile.gettempdir()) / f"ssl-sweep-{who}"


def _is_ours(root: Path) -> bool:
    """Whether the folder, made where there is none, is a folder of this user's and nobody else's."""
    with suppress(FileExistsError):
        root.mkdir(mode=0o700)
    found = root.lstat()
    if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != os.getuid()):
        return False
    if stat.S_IMODE(found.st_mode) != 0o700:
        root.chmod(0o700)
    return True
