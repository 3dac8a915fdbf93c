"""Walk through the plan's graph: lease and start ready stages, retry failed ones, block what depends on them.

Any ``Backend`` will do; this module does not know Ray. The store is the truth. This module decides what
starts next, and it is the only one that decides on retries. Each decision is a line of the log (INFO).
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.execution.backend import Backend, Outcome
from ssl_sweep.sweep.execution.failures import RETRIES, Attempts, backoff_s, failure_of, keep
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.specs import FeatureSpec, ProbeSpec
from ssl_sweep.sweep.store.leases import Leases, held_by
from ssl_sweep.sweep.store.manifest import Failure
from ssl_sweep.sweep.store.store import Store

_log = logging.getLogger(__name__)

# Probes in one piece of work: enough to pay for loading the features, few enough to spread over workers.
_PROBES_AT_ONCE = 32
_POLL_S = 0.1
_LOOK_S = 2.0  # seconds between two checks of other drivers, or of a store that did not answer
_STORE_PATIENCE_S = 600.0


@dataclass
class Progress:
    """The state of every stage of one execution."""

    stages: dict[str, PlannedStage]
    """Every stage, by id."""
    status: dict[str, str]
    """``complete``, ``waiting``, ``running``, ``elsewhere`` (another driver runs it), ``failed``, ``blocked``
    or ``interrupted``, by id."""
    messages: dict[str, str] = field(default_factory=dict)
    """Why a stage is in its state, by id."""
    executed: list[str] = field(default_factory=list)
    """Ids of the stages that this execution finished."""

    @classmethod
    def of(cls, stages: Iterable[PlannedStage]) -> Progress:
        """The progress before anything runs."""
        stages = list(stages)
        states = {"complete": "complete", "to_run": "waiting"}
        return cls({stage.id: stage for stage in stages}, {stage.id: states[stage.state] for stage in stages})

    def count(self, kind: str | None = None) -> Counter[str]:
        """Number of stages, of one kind or of all, in each state."""
        return Counter(self.status[s.id] for s in self.stages.values() if kind in (None, s.kind))

    def having(self, *states: str) -> list[PlannedStage]:
        """The stages in one of these states."""
        return [stage for stage in self.stages.values() if self.status[stage.id] in states]


def execute(
    stages: Sequence[PlannedStage],
    backend: Backend,
    store: Store,
    leases: Leases,
    *,
    stop: Callable[[], bool],
    grace_s: float,
    changed: Callable[[PlannedStage, str, str], None],
    tick: Callable[[Progress], None],
    allows: Callable[[PlannedStage], bool] = lambda stage: True,
) -> Progress:
    """Run every stage of ``stages`` that is to run; return once no more can run.

    Args:
        stages: In topological order, with the complete ones.
        backend: What runs them.
        store: Where results are kept.
        leases: This driver's leases. It leases each stage before it starts it, and waits for stages that
            another driver has leased.
        stop: Called between steps. Once it returns True, nothing new starts and running work may finish.
        grace_s: For at most so many seconds. Stages that still run then become ``interrupted``.
        changed: Called with (stage, new state, message) at every change.
        tick: Called about ten times a second.
        allows: Called before a training starts. If it returns False, the training becomes ``interrupted``.

    Raises:
        StoreError: The store has not answered for ten minutes.
    """
    walk = _Walk(stages, backend, store, leases, stop, changed, allows)
    deadline = 0.0
    while True:
        stopping = stop()
        if not stopping:
            walk.look_around()
            walk.start()
        if walk.idle(stopping):
            break
        if stopping:
            deadline = deadline or time.monotonic() + grace_s
            if time.monotonic() >= deadline:
                break
        for outcome in backend.poll(_POLL_S):
            walk.settle(outcome)
        tick(walk.progress)
    if stop():
        for stage in walk.progress.having("waiting", "running", "elsewhere"):
            walk.progress.status[stage.id] = "interrupted"
    return walk.progress


class _Walk:
    """One execution."""

    def __init__(
        self,
        stages: Sequence[PlannedStage],
        backend: Backend,
        store: Store,
        leases: Leases,
        stop: Callable[[], bool],
        changed: Callable[[PlannedStage, str, str], None],
        allows: Callable[[PlannedStage], bool],
    ) -> None:
        self.progress = Progress.of(stages)
        self._backend, self._store, self._leases = backend, store, leases
        self._stop, self._changed, self._allows = stop, changed, allows
        self._heavy: deque[PlannedStage] = deque()  # ready trainings, in the plan's order
        # Ready light stages, by the input that they share
        self._light: dict[tuple[str, ...], list[PlannedStage]] = {}
        self._trainings: set[str] = set()  # running trainings
        self._pieces: list[set[str]] = []  # running light work: the unfinished stages of each piece
        # Stages of another driver: its name, and the failure that the store had before
        self._elsewhere: dict[str, tuple[str, Failure | None]] = {}
        self._retries: dict[str, tuple[float, Failure]] = {}  # failed stages: the time of the retry
        self._attempts: dict[str, Attempts] = {}
        self._apart: set[str] = set()  # light stages that run in a process of their own from now on
        # Monotonic seconds: the last check of other drivers, since when the store is away, no start before
        self._looked_at = self._away_since = self._pause_until = -math.inf
        status = self.progress.status
        self._missing = {
            stage.id: {up for up in stage.upstream if status.get(up, "complete") != "complete"}
            for stage in stages
            if status[stage.id] == "waiting"
        }
        self._below: dict[str, list[str]] = {}
        for id, above in self._missing.items():
            for up in above:
                self._below.setdefault(up, []).append(id)
            if not above:
                self._ready(self.progress.stages[id])

    def idle(self, stopping: bool) -> bool:
        """Whether nothing runs and nothing more will start."""
        if self._trainings or self._pieces:
            return False
        return stopping or not (self._heavy or self._light or self._retries or self._elsewhere)

    # Starting -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Lease and start stages as long as there is room: light ones first, because they end soon."""
        if time.monotonic() < self._pause_until:
            return
        while self._light and len(self._pieces) < self._backend.light_slots:
            key, group = next(iter(self._light.items()))
            leased = [(stage, self._lease(stage)) for stage in group[:_PROBES_AT_ONCE]]
            if any(taken is None for _, taken in leased):  # the next call still holds the leases
                self._light[key] = [stage for stage in group if self.progress.status[stage.id] == "waiting"]
                return
            self._light.pop(key)
            if group[_PROBES_AT_ONCE:]:
                self._light[key] = group[_PROBES_AT_ONCE:]
            piece = [stage for stage, taken in leased if taken]
            if piece:
                self._pieces.append({stage.id for stage in piece})
                for stage in piece:
                    self._note(stage, "running")
                self._backend.submit(piece)
        while self._heavy and self._backend.room_for(self._heavy[0]):
            if not self._allows(self._heavy[0]):
                stage, why = self._heavy.popleft(), "it does not fit into the limits of this run"
                _log.info("%s: left out: %s", stage, why)
                self._note(stage, "interrupted", why)
                continue
            taken = self._lease(self._heavy[0])
            if taken is None:
                return
            stage = self._heavy.popleft()
            if taken:
                self._trainings.add(stage.id)
                self._note(stage, "running")
                self._backend.train(stage)

    def _lease(self, stage: PlannedStage) -> bool | None:
        """Whether this driver runs the stage; None if the store does not answer."""
        try:
            if not self._leases.take(stage.kind, stage.id):
                self._leave(stage)
                return False
            # Another driver may have finished a training since the plan was made: that takes long enough.
            if stage.heavy and self._store.complete(stage.kind, stage.id):
                self._leases.release(stage.kind, stage.id)
                _log.info("%s: taken from the store, another driver finished it", stage)
                self._complete(stage)
                return False
        except (StoreError, OSError) as error:
            failure = failure_of(error)
            if failure.kind == "disk_full":
                self._failed(stage, failure)
                return False
            self._no_answer(error)
            return None
        _log.info("%s: leased", stage)
        return True

    def _no_answer(self, error: Exception) -> None:
        """Pause new starts. Running work continues.

        Raises:
            StoreError: the store has not answered for ten minutes.
        """
        now = time.monotonic()
        if now > self._pause_until + _STORE_PATIENCE_S / 10:  # it has answered since the last error
            self._away_since = now
            _log.info("the store does not answer; nothing new starts until it does: %s", error)
        self._pause_until = now + _LOOK_S
        if now - self._away_since > _STORE_PATIENCE_S:
            raise StoreError(
                f"the store has not answered for {_STORE_PATIENCE_S / 60:.0f} minutes: {error}",
                hint="once it answers, run the same command again; finished stages are kept",
            ) from error

    # Looking around -----------------------------------------------------------------------------------

    def look_around(self) -> None:
        """Retry stages whose backoff is over, and catch up with other drivers.

        These have finished stages, or taken over some of ours. This takes a few requests every two seconds,
        however many stages wait.
        """
        now = time.monotonic()
        if now - self._looked_at < (_LOOK_S if self._elsewhere else _POLL_S):
            return
        self._looked_at = now
        try:
            self._retry(now)
            self._follow_others()
            if self._leases.was_away():
                self._give_up_lost()
        except (StoreError, OSError) as error:
            self._no_answer(error)

    def _retry(self, now: float) -> None:
        for id, (due, failure) in list(self._retries.items()):
            if now >= due:
                if failure.kind == "store":
                    self._retries[id] = (now + _LOOK_S, failure)
                    self._store.check_writable()
                del self._retries[id]
                self._ready(self.progress.stages[id])

    def _follow_others(self) -> None:
        if not self._elsewhere:
            return
        leased = self._leases.leased()
        dead = {holder for holder, _ in self._elsewhere.values() if self._leases.dead(holder)}
        for id, (holder, before) in list(self._elsewhere.items()):
            stage = self.progress.stages[id]
            if (stage.kind, id) in leased and holder not in dead:
                continue
            failure = None
            if self._store.complete(stage.kind, id):
                _log.info("%s: taken from the store, %s finished it", stage, holder)
                self._complete(stage)
            elif (failure := self._store.failure(stage.kind, id)) and failure.final and failure != before:
                self._finally_failed(stage, f"{failure.message} (in another run)")
            else:
                _log.info("%s: ready again, %s gave it up", stage, holder)
                self._note(stage, "waiting")
                self._ready(stage)
            del self._elsewhere[id]

    def _give_up_lost(self) -> None:
        """After a suspension of this process: leave stages to the drivers that have taken them over.

        The work that still runs here for these stages ends without being counted.
        """
        running = self._trainings | {id for piece in self._pieces for id in piece}
        for id in running:
            stage = self.progress.stages[id]
            if self._leases.lost(stage.kind, id):
                self._leave(stage)
                self._forget(id)

    def _leave(self, stage: PlannedStage) -> None:
        """Leave a stage to the driver that holds its lease, and wait for it."""
        holder = held_by(self._store.storage, stage.kind, stage.id) or "another driver"
        self._elsewhere[stage.id] = (holder, self._store.failure(stage.kind, stage.id))
        _log.info("%s: waits, %s holds the lease", stage, holder)
        self._note(stage, "elsewhere", f"{holder} works on it")

    # Settling -----------------------------------------------------------------------------------------

    def settle(self, outcome: Outcome) -> None:
        """Record how a stage ended."""
        stage = self.progress.stages[outcome.stage_id]
        if outcome.status == "complete" and outcome.executed:
            self.progress.executed.append(stage.id)
        if self.progress.status[stage.id] != "running":  # left to another driver meanwhile
            return
        self._forget(stage.id)
        match outcome.status, outcome.failure:
            case "complete", _:
                self._complete(stage)
            case "failed", Failure() as failure if outcome.together:
                self._apart.add(stage.id)  # this counts as no attempt: another stage may be the cause
                _log.info("%s: retried in a process of its own: %s", stage, failure.message)
                self._note(stage, "waiting", f"{failure.kind}: {failure.message}; retried in its own process")
                self._ready(stage)
            case "failed", failure:
                self._failed(stage, failure or Failure(kind="worker_error", message="no reason was given"))
            case _:
                _log.info("%s: interrupted", stage)
                self._note(stage, "interrupted")
        try:
            # A training that stops without being asked has found that another driver has taken it over.
            by_itself = outcome.status == "interrupted" and not self._stop()
            if by_itself and self._leases.lost(stage.kind, stage.id):
                self._leave(stage)
            self._leases.release(stage.kind, stage.id)
        except (StoreError, OSError) as error:  # the lease is released at the end
            self._no_answer(error)

    def _forget(self, id: str) -> None:
        self._trainings.discard(id)
        self._pieces = [left for piece in self._pieces if (left := piece - {id})]

    def _complete(self, stage: PlannedStage) -> None:
        self._note(stage, "complete")
        for id in self._below.get(stage.id, ()):
            self._missing[id].discard(stage.id)
            if not self._missing[id] and self.progress.status[id] == "waiting":
                self._ready(self.progress.stages[id])

    def _failed(self, stage: PlannedStage, failure: Failure) -> None:
        if not self._store.present():  # that is the cause, whatever the error says
            failure = replace(failure, kind="store")
        if stage.id not in self._attempts:
            self._attempts[stage.id] = Attempts(self._failed_before(stage))
        record = self._attempts[stage.id].after(failure)
        unwritten = keep(self._store, stage, record)
        message = f"{record.message} ({unwritten})" if unwritten else record.message
        if record.final:
            self._finally_failed(stage, message)
        else:
            wait = backoff_s(record)
            self._retries[stage.id] = (time.monotonic() + wait, record)
            count, limit = str(record.attempts[record.kind]), RETRIES[record.kind]
            count = count if limit == math.inf else f"{count} of {limit:g}"
            _log.info("%s: retried (%s) in %.0f s: %s: %s", stage, count, wait, record.kind, message)
            self._note(stage, "waiting", f"{record.kind}: {message}; retried in {wait:.0f} s")

    def _failed_before(self, stage: PlannedStage) -> Failure | None:
        try:
            return self._store.failure(stage.kind, stage.id)
        except (StoreError, OSError):
            return None

    def _finally_failed(self, stage: PlannedStage, message: str) -> None:
        """Block the stages that depend on it, and no others."""
        _log.info("%s: failed: %s", stage, message)
        self._note(stage, "failed", message)
        queue = [stage.id]
        while queue:
            for id in self._below.get(queue.pop(), ()):
                if self.progress.status[id] == "waiting":
                    _log.info("%s: blocked by %s, which failed", self.progress.stages[id], stage)
                    self._note(self.progress.stages[id], "blocked", f"needs {stage.label}, which failed")
                    queue.append(id)

    def _ready(self, stage: PlannedStage) -> None:
        if stage.heavy:
            self._heavy.append(stage)
        else:
            key = (stage.kind, stage.id) if stage.id in self._apart else _shared_input(stage)
            self._light.setdefault(key, []).append(stage)

    def _note(self, stage: PlannedStage, status: str, message: str = "") -> None:
        self.progress.status[stage.id] = status
        if message:
            self.progress.messages[stage.id] = message
        self._changed(stage, status, message)


def _shared_input(stage: PlannedStage) -> tuple[str, ...]:
    """Light stages with the same key are one piece of work, which loads its input once.

    These are both splits of a dataset under one encoder, and the probes of one pair of feature arrays.
    """
    match stage.spec:
        case FeatureSpec():
            return ("features", stage.spec.encoder, stage.spec.fingerprint)
        case ProbeSpec():
            return ("probe", *stage.spec.train_features, *stage.spec.test_features)
        case _:
            return (stage.kind, stage.id)
