"""The errors of this package for input that cannot be used, and hints for misspelt names."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_REMEDIES = {
    errno.EACCES: "fix its permissions",
    errno.EPERM: "fix its permissions",
    errno.ENOENT: "restore it",
    errno.ENOTDIR: "a folder is needed here, not a file",
    errno.EISDIR: "a file is needed here, not a folder",
    errno.ENOSPC: "free some space on its disk",
    errno.EDQUOT: "free some space, or ask for a larger quota",
    errno.EROFS: "its file system is read-only: mount it for writing",
    errno.EIO: "check its disk",
    errno.ESTALE: "mount its file system again",
    errno.ENOTCONN: "mount its file system again",
    errno.ENAMETOOLONG: "shorten its path",
    errno.ELOOP: "its links lead in a circle: fix them",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


class DataError(Exception):
    """Images, labels, policies or sizes that cannot be used; the message says what, where and what to do."""

    key = ""
    """The field of a source that it is about; empty if it is unknown."""


@contextmanager
def about(key: str) -> Iterator[None]:
    """Say of errors inside which field of a source they are about."""
    try:
        yield
    except DataError as error:
        error.key = error.key or key
        raise


class BadImageError(DataError):
    """An image whose bytes were read but cannot be decoded."""

    what: str
    """What is wrong with it, without its name."""
    content: str
    """A hash of the bytes: the same whatever the file is called."""

    def __init__(self, name: str, what: str, content: str) -> None:
        super().__init__(f"{name}: {what}")
        self.what, self.content = what, content


def nearest(word: str, names: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the nearest of ``names``, or an empty string if none is close."""
    close = difflib.get_close_matches(word, sorted(set(names)), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def remedy(error: OSError) -> str:
    """What to do about the file or folder of an error, by its cause."""
    return _REMEDIES.get(error.errno or 0, "try again")
