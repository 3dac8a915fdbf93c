"""``ssl-sweep logs``: the log of one stage, complete or as it grows, and how the stage failed."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ssl_sweep.sweep.inspect.lookup import Target
from ssl_sweep.sweep.results.status import held
from ssl_sweep.sweep.store.log import LOG_FILE
from ssl_sweep.sweep.store.manifest import Failure
from ssl_sweep.sweep.store.store import Store

_LOOK_EVERY_S = 0.5


def read_log(store: Store, target: Target) -> str:
    """Return the whole log, '' if there is no log."""
    path = store.extra(target.stage, target.id, LOG_FILE)
    return path.read_text(errors="replace") if path is not None else ""


def follow(store: Store, target: Target) -> Iterator[str]:
    """Yield the log so far, then what is added, until no driver runs the stage any more."""
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
    """Whether a driver that may be alive holds the stage."""
    return (target.stage, target.id) in held(store)


def failure_lines(failure: Failure, log: str) -> list[str]:
    """Describe a failure in lines; the saved end of the log is left out if ``log`` contains it."""
    where = f" on {failure.hardware}" if failure.hardware else ""
    again = "" if failure.final else "; its driver was going to retry it"
    lines = [f"failed: {attempts_of(failure)}, {failure.time}{where}{again}", failure.message]
    tail = failure.log_tail.strip()
    return lines if not tail or tail in log else [*lines, tail]


def attempts_of(failure: Failure) -> str:
    """The attempts in words, such as ``hang, attempt 3 (hang 2, worker_error 1)``.

    Kinds are counted if there were several.
    """
    kinds = ", ".join(f"{kind} {n}" for kind, n in failure.attempts.items())
    several = f" ({kinds})" if len(failure.attempts) > 1 else ""
    return f"{failure.kind}, attempt {failure.attempt}{several}"
