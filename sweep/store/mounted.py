"""Whether a store's folder is still there.

If its file system goes away, an empty folder may stay behind. It must not be taken for a store without
results, nor be written to.
"""

from __future__ import annotations

from pathlib import Path

from ssl_sweep.data_ops.sources.own_output import STORE_MARK
from ssl_sweep.sweep.errors import UnreachableError


class MountedFolder:
    """A folder that may disappear, as this process has seen it."""

    def __init__(self, root: Path) -> None:
        self._root, self._mark = root, root / STORE_MARK
        self._seen = False

    def establish(self) -> None:
        """Create the folder if necessary, and mark it.

        Raises:
            UnreachableError: this process saw its mark before, and it is gone.
            OSError: it cannot be written.
        """
        if self._seen:
            self.require()
        self._root.mkdir(parents=True, exist_ok=True)
        self._mark.touch()
        self._seen = True

    def there(self) -> bool:
        """Whether the folder is there; also True for a folder whose mark this process never saw."""
        now = self._mark.exists()
        self._seen |= now
        return now or not self._seen

    def require(self) -> None:
        """Raises UnreachableError if the folder is gone, or if another one is in its place."""
        if not self.there():
            raise UnreachableError(
                f"the store {str(self._root)!r} is away: its folder is gone, or another file system is there",
                hint="mount it again; the run waits, and the same command resumes it",
            )
