"""A process that does one job after the other, as they come through a pipe, until there is no sender."""

from __future__ import annotations

import signal
import sys
from multiprocessing.connection import Connection


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver asks for a stop through its stop file
    jobs = Connection(int(sys.argv[1]))
    while True:
        try:
            jobs.send(jobs.recv()())
        except (EOFError, OSError):  # the driver is gone
            return


if __name__ == "__main__":
    main()
