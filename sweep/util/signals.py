"""Ctrl-C and SIGTERM: the first asks for a clean stop, the second ends at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

_FIRST = b"\nstopping: trainings write a checkpoint, nothing new starts; press Ctrl-C again to stop at once\n"
_SECOND = b"\nstopped at once; the same command resumes from the last checkpoints\n"


@dataclass
class Stop:
    """Why a run has to stop, if it has to."""

    signal: int | None = None
    """The number of the signal that asked for it."""
    spent: bool = False
    """The run has reached its limit of hours or money."""

    @property
    def requested(self) -> bool:
        return self.signal is not None or self.spent


@contextmanager
def stop_on_signal(first: Callable[[], None], last: Callable[[], None]) -> Iterator[Stop]:
    """Handle SIGINT and SIGTERM inside the block.

    Args:
        first: called by the first signal.
        last: called by the second, which then ends the process with exit code 128 + its number.

    Both run between any two steps of the program, so they may do next to nothing.
    """
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.signal is None:
            stop.signal = number
            with suppress(OSError):  # on a full disk the run still stops, without its running work
                first()
            os.write(sys.stderr.fileno(), _FIRST)  # print may be in the middle of a line
            return
        last()
        os.write(sys.stderr.fileno(), _SECOND)
        os._exit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
