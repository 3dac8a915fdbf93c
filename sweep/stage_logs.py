"""The log of one stage, whole or as it grows, and how the stage failed."""

from __future__ import annotations

import time
from collections.abc import Iterator

from sweep.leases import holders
from sweep.manifest import Failure
from sweep.store import Store
from sweep.targets import Target

LOG = "log.txt"
_LOOK_EVERY_S = 0.5


def read_log(store: Store, target: Target) -> str:
    """All of it, '' where there is none."""
    try:
        return (store.path(target.stage, target.id) / LOG).read_text(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        record = store.storage.read(f"{target.stage}/{target.id}/{LOG}")
        return record.data.decode(errors="replace") if record else ""


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
    lines = [f"failed: {failure.kind}, attempt {failure.attempt}, {failure.time}{where}", failure.message]
    tail = failure.log_tail.strip()
    return lines if not tail or tail in log else [*lines, tail]
