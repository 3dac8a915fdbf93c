"""Whether a store's folder is there: where its file system goes away, an empty folder stays behind, which
must not be taken for a store without results, nor be written into."""

from __future__ import annotations

from pathlib import Path

from ssl_sweep.sweep.errors import UnreachableError

MARK = ".ssl-sweep-store"
"""In the folder of every store that a run has used."""


class Presence:
    """Of one folder, as this process has seen it."""

    def __init__(self, root: Path) -> None:
        self._root, self._mark = root, root / MARK
        self._seen = False

    def establish(self) -> None:
        """Mark the folder, new or there already; not one whose mark this process has seen to go.

        Raises:
            UnreachableError: it was there, and is gone.
            OSError: it cannot be written.
        """
        if self._seen:
            self.require()
        self._root.mkdir(parents=True, exist_ok=True)
        self._mark.touch()
        self._seen = True

    def there(self) -> bool:
        """True also of a folder that was never marked: nothing is known of it."""
        now = self._mark.exists()
        self._seen |= now
        return now or not self._seen

    def require(self) -> None:
        """UnreachableError where the folder was there and is not, or is another one."""
        if not self.there():
            raise UnreachableError(
                f"the store {str(self._root)!r} is away: its folder is gone, or another file system is there",
                hint="mount it again; the run waits, and the same command goes on",
            )
