"""The log of one stage, whole or as it grows, and how the stage failed."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ssl_sweep.sweep.inspect.lookup import Target
from ssl_sweep.sweep.store.leases import holders
from ssl_sweep.sweep.store.log import LOG_FILE
from ssl_sweep.sweep.store.manifest import Failure
from ssl_sweep.sweep.store.store import Store

_LOOK_EVERY_S = 0.5


def read_log(store: Store, target: Target) -> str:
    """All of it, '' where there is none."""
    path = store.extra(target.stage, target.id, LOG_FILE)
    return path.read_text(errors="replace") if path is not None else ""


def follow(store: Store, target: Target) -> Iterator[str]:
    """What is there, then what is added, until the stage is finished or failed or nobody holds it."""
    shown = 0
    while True:
        over = not running(store, target)  # asked before the last read, so that no line is lost
        text = read_log(store, target)
        yield text[shown:]
        shown = len(text)
        if over:
            return
        time.sleep(_LOOK_EVERY_S)


def running(store: Store, target: Target) -> bool:
    """A driver that may be alive holds it."""
    holder = holders(store.storage).get(f"{target.stage}-{target.id}")
    return holder is not None and holder.alive is not False


def failure_lines(failure: Failure, log: str) -> list[str]:
    """For a person; the tail that was kept is left out where the log has it."""
    where = f" on {failure.hardware}" if failure.hardware else ""
    again = "" if failure.final else "; its driver was about to try again"
    lines = [f"failed: {attempts_of(failure)}, {failure.time}{where}{again}", failure.message]
    tail = failure.log_tail.strip()
    return lines if not tail or tail in log else [*lines, tail]


def attempts_of(failure: Failure) -> str:
    """`hang, attempt 3 (hang 2, worker_error 1)`; the kinds only where there were several."""
    kinds = ", ".join(f"{kind} {n}" for kind, n in failure.attempts.items())
    several = f" ({kinds})" if len(failure.attempts) > 1 else ""
    return f"{failure.kind}, attempt {failure.attempt}{several}"
