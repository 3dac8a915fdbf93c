"""How stages fail: the kinds of failure, how often each is retried, and the kind of an error.

Only ``scheduler.execute`` decides on retries; the code that performs a stage only reports what happened.
Errors of Ray and torch are recognised by the names of their classes, so nothing here imports these packages.
"""

from __future__ import annotations

import errno
import math
import re
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from ssl_sweep.sweep.errors import StoreError, SweepError, first_line
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.store.log import StageLog
from ssl_sweep.sweep.store.manifest import Failure
from ssl_sweep.sweep.store.provenance import hardware
from ssl_sweep.sweep.store.store import Store

RETRIES: Mapping[str, float] = {
    "preempted": math.inf,  # the cloud took the node back
    "node_lost": 5,
    "store": 5,  # it did not answer; retried once it does
    "worker_error": 2,  # the process died, or an error of an unknown kind
    "hang": 1,  # no progress for compute.hang_after_s
    "oom": 0,
    "disk_full": 0,
    "data": 0,
    "grid": 0,  # the request is impossible, or the training diverged
    "damaged": 0,
}
"""Retries after a first failure of each kind."""

_TAIL = 4000
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_AWAY = {errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EROFS, errno.ETIMEDOUT, errno.EHOSTDOWN}
_BY_CLASS = {
    "PreemptionError": "preempted",
    "NodeDiedError": "node_lost",
    "OutOfMemory": "oom",
    "OutOfMemoryError": "oom",
    "MemoryError": "oom",
    "OutOfDiskError": "disk_full",
    "DamagedError": "damaged",
    "StoreError": "store",
    "DataError": "data",
    "GridError": "grid",
    "InfeasibleError": "grid",
    "DivergedError": "grid",
}
_BY_TEXT = {
    "No space left on device": "disk_full",
    "Disk quota exceeded": "disk_full",
    "PytorchStreamWriter failed writing": "disk_full",
    "unexpected pos": "disk_full",  # torch.save on a full disk
    "can't allocate memory": "oom",
    "running low on memory": "oom",
    "its node has died": "node_lost",
    "node was terminated": "node_lost",
    "The node died": "node_lost",
}
_DEATHS = {"ActorDiedError", "RayActorError", "ActorUnavailableError", "WorkerCrashedError"}
_DEATHS |= {"NodeDiedError", "LocalRayletDiedError", "PreemptionError", "OutOfMemoryError", "OwnerDiedError"}
# If several errors happen at the same time, the first of these is the cause: if a node is taken back, the
# workers on other nodes fail too.
_CAUSES = ("preempted", "node_lost", "oom", "disk_full", "damaged", "data", "grid", "store")


class StageFailed(Exception):
    """Carries a failure from the process in which it happened to the driver."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure

    def __str__(self) -> str:
        return self.failure.message


def failure_of(error: BaseException) -> Failure:
    """The record of an error that happened in this process, or that ``StageFailed`` carried here."""
    kind, cause = _cause(error)
    if isinstance(cause, StageFailed):
        return cause.failure
    return Failure(
        kind=kind,
        message=_message(kind, cause),
        log_tail=_COLOUR.sub("", "".join(traceback.format_exception(error)))[-_TAIL:],
        hardware=hardware(),
    )


def kind_of(error: BaseException) -> str:
    """The kind of an error, a key of ``RETRIES``."""
    return _cause(error)[0]


def failure_from_afar(error: BaseException, stage: PlannedStage, store: Store) -> Failure:
    """The record of an error that Ray reports: an error of the stage itself, or the death of its process."""
    gone = next((link for link in _links(error) if type(link).__name__ in _DEATHS), None)
    return failure_of(error) if gone is None else death(stage, store, first_line(gone), kind_of(error))


def death(stage: PlannedStage, store: Store, said: str, kind: str = "worker_error") -> Failure:
    """The record of a process that died: its watchdog ended it, or something else did.

    Args:
        stage: The stage that it performed.
        store: The store that has the log of the stage.
        said: What Ray or the operating system reported.
        kind: The kind of failure, unless the log shows a hang.
    """
    log = StageLog(store.path(stage.kind, stage.id))
    if stacks := log.hang():
        return Failure(kind="hang", message="no progress for compute.hang_after_s", log_tail=stacks[:_TAIL])
    words = {"preempted": "its node was taken back", "node_lost": "its node died", "oom": "out of memory"}
    message = f"{words.get(kind, 'the worker process died')}: {said}"
    log.line(message)
    return Failure(kind=kind, message=message, log_tail=log.tail(_TAIL))


class Attempts:
    """The failures of one stage so far. Those of a run that was killed before its last retry count too."""

    def __init__(self, before: Failure | None) -> None:
        self._number = before.attempt if before is not None else 0
        self._kinds = Counter(before.attempts if before is not None and not before.final else {})

    def after(self, failure: Failure) -> Failure:
        """The record of one more failure; it is ``final`` if its kind has no retries left."""
        self._number += 1
        self._kinds[failure.kind] += 1
        final = self._kinds[failure.kind] > RETRIES.get(failure.kind, 0)
        return replace(failure, attempt=self._number, attempts=dict(self._kinds), final=final)


def backoff_s(failure: Failure) -> float:
    """Seconds to wait before a retry: 1, then twice as long each time, at most 60."""
    return float(min(60, 2 ** (sum(failure.attempts.values()) - 1)))


def keep(store: Store, stage: PlannedStage, failure: Failure) -> str:
    """Write ``error.json`` of the stage. Returns why this failed, or ""."""
    try:
        store.fail(stage.kind, stage.id, failure)
    except (StoreError, OSError) as error:
        return f"error.json of {stage.kind} {stage.id} cannot be written: {first_line(error)}"
    return ""


def _cause(error: BaseException) -> tuple[str, BaseException]:
    """The kind of an error, and which of it and the errors behind it is the cause."""
    links = [(_kind_of_one(link), link) for link in _links(error)]
    for kind in _CAUSES:
        if found := next((link for of, link in links if of == kind), None):
            return kind, found
    carried = next((link for _, link in links if isinstance(link, StageFailed)), None)
    return "worker_error", carried or error


def _message(kind: str, error: BaseException) -> str:
    """An error in one line; one of an unknown kind as the last line of its traceback.

    Ray wraps an error in the name of its task, in colour, and sends only the traceback if it cannot send the
    error itself.
    """
    while _is_rays(error) and isinstance(inner := getattr(error, "cause", None), BaseException):
        error = inner
    if _is_rays(error):
        return _COLOUR.sub("", str(error)).strip().splitlines()[-1]
    text, name = _COLOUR.sub("", first_line(error)), type(error).__name__
    known = kind != "worker_error" or isinstance(error, SweepError) or text == name
    return text if known else f"{name}: {text}"


def _is_rays(error: BaseException) -> bool:
    """Whether it is Ray's wrapper of an error: ``RayTaskError``, or the class that also derives from it."""
    return type(error).__name__.startswith("RayTaskError")


def _kind_of_one(error: BaseException) -> str:
    if getattr(error, "preempted", False) is True:
        return "preempted"
    if isinstance(error, OSError) and error.errno in _FULL:
        return "disk_full"
    text = str(error)
    for words, kind in _BY_TEXT.items():
        if words in text:
            return kind
    for base in type(error).__mro__:
        if base.__name__ in _BY_CLASS:
            return _BY_CLASS[base.__name__]
    if isinstance(error, OSError) and error.errno in _AWAY:
        return "store"
    return error.failure.kind if isinstance(error, StageFailed) else ""


def _links(error: BaseException) -> Iterator[BaseException]:
    """An error and the errors behind it, through Ray's wrappers of tasks, controllers and worker groups."""
    seen: set[int] = set()
    queue = [error]
    while queue:
        link = queue.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        inner = [getattr(link, name, None) for name in ("cause", "controller_failure", "_base_exc")]
        inner += [getattr(link, "health_check_failure", None), link.__cause__]
        inner += [] if link.__suppress_context__ else [link.__context__]
        failures = getattr(link, "worker_failures", None)
        inner += list(failures.values()) if isinstance(failures, dict) else []
        queue += [each for each in inner if isinstance(each, BaseException)]
