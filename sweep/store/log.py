"""The log of a stage, ``<stage>/<id>/log.txt``, to which every attempt appends."""

from __future__ import annotations

import contextlib
import os
import platform
import traceback
from pathlib import Path

from ssl_sweep.sweep.store.manifest import utc

LOG_FILE = "log.txt"
_START = " started on "
_HANG = "\nTimeout ("  # what faulthandler writes before the stacks


class StageLog:
    """Appends entries, each in one write, so that several processes can share a log.

    A log that cannot be written, on a full disk for example, does not fail the stage.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG_FILE

    def started(self, what: str) -> None:
        """Note that an attempt begins."""
        self.line(f"{what}{_START}{platform.node()}, process {os.getpid()}")

    def line(self, text: str) -> None:
        """Append a line with the time."""
        self._append(f"{utc()} {text}\n")

    def error(self, error: BaseException) -> None:
        """Append an error with its traceback."""
        self._append(f"{utc()} failed\n{''.join(traceback.format_exception(error))}")

    def hang(self) -> str:
        """The stacks that the watchdog wrote in the last attempt; '' if it wrote none."""
        attempt = self.tail(200_000).rpartition(_START)[2]
        _, found, stacks = attempt.partition(_HANG)
        return (found + stacks).lstrip()

    def tail(self, size: int) -> str:
        """The last ``size`` bytes of the log, as text."""
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, self.path.stat().st_size - size))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def _append(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as file:
                file.write(text.encode())
