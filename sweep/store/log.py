"""The log of a stage, `<stage>/<id>/log.txt`: whoever performs it appends, attempt after attempt."""

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
    """Each entry is one write, so that several processes can append. A log that cannot be written, on a full
    disk for example, is no reason to fail."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG_FILE

    def started(self, what: str) -> None:
        """An attempt begins."""
        self.line(f"{what}{_START}{platform.node()}, process {os.getpid()}")

    def line(self, text: str) -> None:
        self._append(f"{utc()} {text}\n")

    def error(self, error: BaseException) -> None:
        """An error with its traceback."""
        self._append(f"{utc()} failed\n{''.join(traceback.format_exception(error))}")

    def hang(self) -> str:
        """The stacks that the watchdog left in the last attempt; '' where it left none."""
        attempt = self.tail(200_000).rpartition(_START)[2]
        _, found, stacks = attempt.partition(_HANG)
        return (found + stacks).lstrip()

    def tail(self, characters: int) -> str:
        """The end of the log."""
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, self.path.stat().st_size - characters))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def _append(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as file:
                file.write(text.encode())
