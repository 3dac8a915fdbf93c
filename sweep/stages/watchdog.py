"""End a process whose training makes no progress, and leave the stacks of all threads in the stage's log.

The timer of ``faulthandler`` fires even if a call in C never releases the interpreter's lock.
"""

from __future__ import annotations

import faulthandler
import time
from pathlib import Path
from types import TracebackType
from typing import IO

START_S = 600.0
"""Minimum time limit in seconds before the first step: data are opened and networks may be compiled."""
_REARM_S = 1.0  # at most one new timer per second


class Watchdog:
    """A context manager around a training. A process can have only one at a time.

    A suspended process (SIGSTOP) counts as one without progress.
    """

    def __init__(self, log: Path, limit_s: float, start_s: float = START_S) -> None:
        """Watch one training.

        Args:
            log: File that the stacks are appended to.
            limit_s: Seconds without progress after which the process ends with exit code 1.
            start_s: Minimum limit in seconds before the first sign of progress.
        """
        self._log, self._limit_s, self._start_s = log, limit_s, start_s
        self._armed = time.monotonic()
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Watchdog:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._log.open("ab", buffering=0)
        self._arm(max(self._limit_s, self._start_s))
        return self

    def progress(self) -> None:
        """Restart the timer. Cheap enough to call at every step."""
        now = time.monotonic()
        if now - self._armed >= min(_REARM_S, self._limit_s / 4):
            self._armed = now
            self._arm(self._limit_s)

    def _arm(self, seconds: float) -> None:
        if self._file is not None:
            faulthandler.dump_traceback_later(seconds, exit=True, file=self._file)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        faulthandler.cancel_dump_traceback_later()
        if self._file is not None:
            self._file.close()
            self._file = None
