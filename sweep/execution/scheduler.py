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
from ssl_sweep.sweep.spec.states import State
from ssl_sweep.sweep.store.leases import Leases, held_by
from ssl_sweep.sweep.store.manifest import Failure
from ssl_sweep.sweep.store.store import Store

_log = logging.getLogger(__name__)

# Probes in one piece of work: enough to pay for loading the features, few enough to spread over workers.
_PROBES_AT_ONCE = 32
_POLL_S = 0.1
_LOOK_S = 2.0  # seconds between two checks of other drivers, or of a store that did not answer
_STORE_PATIENCE_S = 600.0


@dataclass(eq=False)
class Pending:
    """One stage of an execution: its state, and what the scheduler knows of it."""

    stage: PlannedStage
    state: State
    message: str = ""
    """Why it is in its state."""
    missing: int = 0
    """Number of stages that it needs and that are not complete."""
    below: list[Pending] = field(default_factory=list)
    """The stages that need it."""
    piece: int = 0
    """Number of the piece of light work that runs it; 0 for a training."""
    holder: str = ""
    """The other driver that works on it; "" if no other driver does."""
    stored: Failure | None = None
    """The failure that the store had before that driver began."""
    attempts: Attempts | None = None
    """Its failures so far; None before the first."""
    failure: Failure | None = None
    """The failure after which it is retried."""
    retry_at: float = 0.0
    """When it is retried, in monotonic seconds."""
    alone: bool = False
    """Whether a light stage runs in a process of its own from now on."""


@dataclass
class Progress:
    """Every stage of one execution."""

    stages: dict[str, Pending]
    """By id, in topological order."""
    executed: list[PlannedStage] = field(default_factory=list)
    """The stages that this execution finished."""

    @classmethod
    def of(cls, stages: Iterable[PlannedStage]) -> Progress:
        """The progress before anything runs."""
        found = {stage.id: Pending(stage, stage.state) for stage in stages}
        for one in found.values():
            if one.state == "to_run":
                above = [found[id] for id in one.stage.upstream if id in found]
                waits = [up for up in above if up.state != "complete"]
                one.missing = len(waits)
                for up in waits:
                    up.below.append(one)
        return cls(found)

    def count(self, kind: str | None = None) -> Counter[State]:
        """Number of stages, of one kind or of all, in each state."""
        return Counter(one.state for one in self.stages.values() if kind in (None, one.stage.kind))

    def having(self, *states: State) -> list[PlannedStage]:
        """The stages in one of these states."""
        return [one.stage for one in self.stages.values() if one.state in states]


def execute(
    stages: Sequence[PlannedStage],
    backend: Backend,
    store: Store,
    leases: Leases,
    *,
    stop: Callable[[], bool],
    grace_s: float,
    changed: Callable[[PlannedStage, State, str], None],
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
        grace_s: Seconds for which running work may finish. Then stages that still run become ``interrupted``.
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
        for one in walk.progress.stages.values():
            if one.state in ("to_run", "running", "elsewhere"):
                one.state = "interrupted"
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
        changed: Callable[[PlannedStage, State, str], None],
        allows: Callable[[PlannedStage], bool],
    ) -> None:
        self.progress = Progress.of(stages)
        self._backend, self._store, self._leases = backend, store, leases
        self._stop, self._changed, self._allows = stop, changed, allows
        self._heavy: deque[Pending] = deque()  # ready trainings, in the plan's order
        self._light: dict[tuple[str, ...], list[Pending]] = {}  # ready light stages, by their shared input
        self._running: set[Pending] = set()
        self._later: dict[str, Pending] = {}  # wait for their retry, or for another driver
        self._pieces = 0  # light work started so far
        # Monotonic seconds: the last check of other drivers, since when the store is away, no start before
        self._looked_at = self._away_since = self._pause_until = -math.inf
        for one in self.progress.stages.values():
            if one.state == "to_run" and not one.missing:
                self._ready(one)

    def idle(self, stopping: bool) -> bool:
        """Whether nothing runs and nothing more will start."""
        return not self._running and (stopping or not (self._heavy or self._light or self._later))

    # Starting -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Lease and start stages as long as there is room: light ones first, because they end soon."""
        if time.monotonic() < self._pause_until:
            return
        while self._light and self._running_pieces() < self._backend.light_slots:
            key, group = next(iter(self._light.items()))
            leased = [(one, self._lease(one)) for one in group[:_PROBES_AT_ONCE]]
            if any(taken is None for _, taken in leased):  # the next call still holds the leases
                self._light[key] = [one for one in group if one.state == "to_run"]
                return
            self._light.pop(key)
            if group[_PROBES_AT_ONCE:]:
                self._light[key] = group[_PROBES_AT_ONCE:]
            if piece := [one for one, taken in leased if taken]:
                self._pieces += 1
                for one in piece:
                    self._run(one, self._pieces)
                self._backend.submit([one.stage for one in piece])
        while self._heavy and self._backend.room_for(self._heavy[0].stage):
            one = self._heavy[0]
            if not self._allows(one.stage):
                self._heavy.popleft()
                why = "it does not fit into the limits of this run"
                _log.info("%s: left out: %s", one.stage, why)
                self._note(one, "interrupted", why)
                continue
            taken = self._lease(one)
            if taken is None:
                return
            self._heavy.popleft()
            if taken:
                self._run(one, 0)
                self._backend.train(one.stage)

    def _running_pieces(self) -> int:
        return len({one.piece for one in self._running} - {0})

    def _run(self, one: Pending, piece: int) -> None:
        one.piece = piece
        self._running.add(one)
        self._note(one, "running")

    def _lease(self, one: Pending) -> bool | None:
        """Whether this driver runs the stage; None if the store does not answer."""
        stage = one.stage
        try:
            if not self._leases.take(stage.kind, stage.id):
                self._leave(one)
                return False
            # Another driver may have finished a training since the plan was made: that takes long enough.
            if stage.heavy and self._store.complete(stage.kind, stage.id):
                self._leases.release(stage.kind, stage.id)
                _log.info("%s: taken from the store, another driver finished it", stage)
                self._complete(one)
                return False
        except (StoreError, OSError) as error:
            failure = failure_of(error)
            if failure.kind == "disk_full":
                self._failed(one, failure)
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
        if now - self._looked_at < (_LOOK_S if self._elsewhere() else _POLL_S):
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
        for one in [one for one in self._later.values() if one.failure is not None and now >= one.retry_at]:
            if one.failure is not None and one.failure.kind == "store":
                one.retry_at = now + _LOOK_S
                self._store.check_writable()
            del self._later[one.stage.id]
            one.failure = None
            self._ready(one)

    def _elsewhere(self) -> list[Pending]:
        return [one for one in self._later.values() if one.holder]

    def _follow_others(self) -> None:
        waiting = self._elsewhere()
        if not waiting:
            return
        leased = self._leases.leased()
        dead = {holder for holder in {one.holder for one in waiting} if self._leases.dead(holder)}
        for one in waiting:
            stage, holder = one.stage, one.holder
            if (stage.kind, stage.id) in leased and holder not in dead:
                continue
            failure = None
            if self._store.complete(stage.kind, stage.id):
                _log.info("%s: taken from the store, %s finished it", stage, holder)
                self._complete(one)
            elif (
                (failure := self._store.failure(stage.kind, stage.id))
                and failure.final
                and failure != one.stored
            ):
                self._finally_failed(one, f"{failure.message} (in another run)")
            else:
                _log.info("%s: ready again, %s released it", stage, holder)
                self._note(one, "to_run")
                self._ready(one)
            one.holder = ""
            del self._later[stage.id]

    def _give_up_lost(self) -> None:
        """After a suspension of this process: leave stages to the drivers that have taken them over.

        The work that still runs here for these stages ends without being counted.
        """
        for one in list(self._running):
            if self._leases.lost(one.stage.kind, one.stage.id):
                self._leave(one)
                self._running.discard(one)

    def _leave(self, one: Pending) -> None:
        """Leave a stage to the driver that holds its lease, and wait for it."""
        stage = one.stage
        holder = held_by(self._store.storage, stage.kind, stage.id) or "another driver"
        one.stored = self._store.failure(stage.kind, stage.id)
        one.holder = holder
        self._later[stage.id] = one
        _log.info("%s: waits, %s holds the lease", stage, holder)
        self._note(one, "elsewhere", f"{holder} works on it")

    # Settling -----------------------------------------------------------------------------------------

    def settle(self, outcome: Outcome) -> None:
        """Record how a stage ended."""
        one = self.progress.stages[outcome.stage_id]
        stage = one.stage
        if outcome.status == "complete" and outcome.executed:
            self.progress.executed.append(stage)
        if one.state != "running":  # left to another driver meanwhile
            return
        self._running.discard(one)
        match outcome.status, outcome.failure:
            case "complete", _:
                self._complete(one)
            case "failed", Failure() as failure if outcome.together:
                one.alone = True  # this counts as no attempt: another stage may be the cause
                _log.info("%s: retried in a process of its own: %s", stage, failure.message)
                self._note(one, "to_run", f"{failure.kind}: {failure.message}; retried in its own process")
                self._ready(one)
            case "failed", failure:
                self._failed(one, failure or Failure(kind="worker_error", message="no reason was given"))
            case _:
                _log.info("%s: interrupted", stage)
                self._note(one, "interrupted")
        try:
            # A training that stops without being asked has found that another driver has taken it over.
            by_itself = outcome.status == "interrupted" and not self._stop()
            if by_itself and self._leases.lost(stage.kind, stage.id):
                self._leave(one)
            self._leases.release(stage.kind, stage.id)
        except (StoreError, OSError) as error:  # the lease is released at the end
            self._no_answer(error)

    def _complete(self, one: Pending) -> None:
        self._note(one, "complete")
        for below in one.below:
            below.missing -= 1
            if not below.missing and below.state == "to_run":
                self._ready(below)

    def _failed(self, one: Pending, failure: Failure) -> None:
        stage = one.stage
        if not self._store.present():  # that is the cause, whatever the error says
            failure = replace(failure, kind="store")
        if one.attempts is None:
            one.attempts = Attempts(self._failed_before(stage))
        record = one.attempts.after(failure)
        unwritten = keep(self._store, stage, record)
        message = f"{record.message} ({unwritten})" if unwritten else record.message
        if record.final:
            self._finally_failed(one, message)
        else:
            wait = backoff_s(record)
            one.failure, one.retry_at = record, time.monotonic() + wait
            self._later[stage.id] = one
            count, limit = str(record.attempts[record.kind]), RETRIES[record.kind]
            count = count if limit == math.inf else f"{count} of {limit:g}"
            _log.info("%s: retried (%s) in %.0f s: %s: %s", stage, count, wait, record.kind, message)
            self._note(one, "to_run", f"{record.kind}: {message}; retried in {wait:.0f} s")

    def _failed_before(self, stage: PlannedStage) -> Failure | None:
        try:
            return self._store.failure(stage.kind, stage.id)
        except (StoreError, OSError):
            return None

    def _finally_failed(self, one: Pending, message: str) -> None:
        """Block the stages that depend on it, and no others."""
        _log.info("%s: failed: %s", one.stage, message)
        self._note(one, "failed", message)
        queue = [one]
        while queue:
            for below in queue.pop().below:
                if below.state == "to_run":
                    _log.info("%s: blocked by %s, which failed", below.stage, one.stage)
                    self._note(below, "blocked", f"needs {one.stage.label}, which failed")
                    queue.append(below)

    def _ready(self, one: Pending) -> None:
        stage = one.stage
        if stage.heavy:
            self._heavy.append(one)
        else:
            key = (stage.kind, *((not one.alone and stage.spec.shares) or (stage.id,)))
            self._light.setdefault(key, []).append(one)

    def _note(self, one: Pending, state: State, message: str = "") -> None:
        one.state = state
        one.message = message or one.message
        self._changed(one.stage, state, message)
