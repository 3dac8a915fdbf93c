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

_FIRST = b"\nstopping: trainings write a checkpoint, nothing new starts; once more to stop at once\n"
_SECOND = b"\nstopped at once; the same command goes on from the last checkpoints\n"


@dataclass
class Stop:
    """Whether a signal has asked to stop, and which; `spent`: the run's budget has."""

    signal: int | None = None
    spent: bool = False

    @property
    def requested(self) -> bool:
        return self.signal is not None or self.spent


@contextmanager
def stop_on_signal(first: Callable[[], None], last: Callable[[], None]) -> Iterator[Stop]:
    """`first` is called by the first SIGINT or SIGTERM, `last` before the second ends the process with
    128 + its number. Both run between any two steps of the program: they may do next to nothing."""
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.signal is None:
            stop.signal = number
            with suppress(OSError):  # on a full disk the run still stops; what it runs is dropped
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
