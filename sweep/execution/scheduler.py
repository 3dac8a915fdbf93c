"""Walk the plan's graph: lease and start what is ready, try again what may be, block what needs a failure.

Knows nothing of Ray: any `Backend` will do. The store is the truth; this only decides what to start next, and
it alone decides on another attempt.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.execution.backend import Backend, Outcome
from ssl_sweep.sweep.execution.failures import Attempts, backoff_s, failure_of, keep
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.specs import FeatureSpec, ProbeSpec
from ssl_sweep.sweep.store.leases import Leases, held_by
from ssl_sweep.sweep.store.manifest import Failure
from ssl_sweep.sweep.store.store import Store

# Probes in one piece of work: enough to pay for loading the features, few enough to spread over workers.
_PROBES_AT_ONCE = 32
_POLL_S = 0.1
_LOOK_S = 2.0  # between two looks at what other drivers do, or at a store that did not answer
_STORE_PATIENCE_S = 600.0


@dataclass
class Progress:
    """The state of every stage of one execution: ``complete``, ``waiting``, ``running``, ``elsewhere`` (with
    another driver), ``failed``, ``blocked`` or ``interrupted``; ``messages`` says why a stage failed."""

    stages: dict[str, PlannedStage]
    status: dict[str, str]
    messages: dict[str, str] = field(default_factory=dict)
    executed: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, stages: Iterable[PlannedStage]) -> Progress:
        stages = list(stages)
        states = {"complete": "complete", "to_run": "waiting"}
        return cls({stage.id: stage for stage in stages}, {stage.id: states[stage.state] for stage in stages})

    def count(self, kind: str | None = None) -> Counter[str]:
        """How many stages (of one kind) are in each state."""
        wanted = self.stages.values() if kind is None else (n for n in self.stages.values() if n.kind == kind)
        return Counter(self.status[stage.id] for stage in wanted)

    def having(self, *states: str) -> list[PlannedStage]:
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
    """Run every stage of ``nodes`` that is to run; returns when none is left that can.

    Args:
        nodes: in topological order; complete ones are only looked up.
        leases: what this driver starts it leases before; what another one holds is waited for.
        stop: asked between steps; once true nothing new starts and running work is waited for.
        grace_s: for that many seconds; what then still runs is left as ``interrupted``.
        changed: called with (stage, new state, message) at every change.
        tick: called about ten times a second.
        allows: asked before a training starts; one that is not allowed is left as ``interrupted``.

    Raises:
        StoreError: the store has not answered for ten minutes.
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
    """Where one execution stands."""

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
        self._light: dict[
            tuple[str, ...], list[PlannedStage]
        ] = {}  # ready light stages, by the input they share
        self._trainings: set[str] = set()  # in the back end's hands
        self._pieces: list[set[str]] = []  # light work there: the stages of each piece not ended yet
        self._elsewhere: dict[str, tuple[str, Failure | None]] = {}  # the other driver, an old failure
        self._again: dict[str, tuple[float, Failure]] = {}  # failed: when to try again
        self._attempts: dict[str, Attempts] = {}
        self._apart: set[str] = set()  # light stages that share no process with others any more
        self._looked = self._away_since = self._pause_until = -math.inf
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
        """Nothing runs, and nothing will."""
        if self._trainings or self._pieces:
            return False
        return stopping or not (self._heavy or self._light or self._again or self._elsewhere)

    # Starting -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Lease and begin whatever there is room for; light stages first, they are soon over."""
        if time.monotonic() < self._pause_until:
            return
        while self._light and len(self._pieces) < self._backend.light_slots:
            key, group = next(iter(self._light.items()))
            leased = [(stage, self._lease(stage)) for stage in group[:_PROBES_AT_ONCE]]
            if any(taken is None for _, taken in leased):  # what was leased is leased still at the next try
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
                self._note(self._heavy.popleft(), "interrupted", "it does not fit the budget")
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
        """Whether this driver is to do the stage; None where the store does not answer."""
        try:
            if not self._leases.take(stage.kind, stage.id):
                self._leave(stage)
                return False
            # A training takes long enough for another driver to have done it since the plan was made.
            if stage.heavy and self._store.complete(stage.kind, stage.id):
                self._leases.release(stage.kind, stage.id)
                self._complete(stage)
                return False
        except (StoreError, OSError) as error:
            failure = failure_of(error)
            if failure.kind == "disk_full":
                self._failed(stage, failure)
                return False
            self._no_answer(error)
            return None
        return True

    def _no_answer(self, error: Exception) -> None:
        """Come back later; running work may go on meanwhile."""
        now = time.monotonic()
        if now > self._pause_until + _STORE_PATIENCE_S / 10:  # it has answered since the last time
            self._away_since = now
        self._pause_until = now + _LOOK_S
        if now - self._away_since > _STORE_PATIENCE_S:
            raise StoreError(
                f"the store has not answered for {_STORE_PATIENCE_S / 60:.0f} minutes: {error}",
                hint="once it does, run the same command again: what was finished is there",
            ) from error

    # Looking around -----------------------------------------------------------------------------------

    def look_around(self) -> None:
        """Whose time to try again has come, what other drivers have ended, and whether they have taken over
        what this one runs. A few requests every two seconds, however many stages wait."""
        now = time.monotonic()
        if now - self._looked < (_LOOK_S if self._elsewhere else _POLL_S):
            return
        self._looked = now
        try:
            self._try_again(now)
            self._follow_others()
            if self._leases.was_away():
                self._give_up_lost()
        except (StoreError, OSError) as error:
            self._no_answer(error)

    def _try_again(self, now: float) -> None:
        for id, (due, failure) in list(self._again.items()):
            if now >= due:
                if failure.kind == "store":
                    self._again[id] = (now + _LOOK_S, failure)
                    self._store.check_writable()
                del self._again[id]
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
                self._complete(stage)
            elif (failure := self._store.failure(stage.kind, id)) and failure.final and failure != before:
                self._finally_failed(stage, f"{failure.message} (in another run)")
            else:
                self._note(stage, "waiting")
                self._ready(stage)
            del self._elsewhere[id]

    def _give_up_lost(self) -> None:
        """After a suspension: what another driver has taken over is its own now; what is still done of it
        here ends without being counted."""
        running = self._trainings | {id for piece in self._pieces for id in piece}
        for id in running:
            stage = self.progress.stages[id]
            if self._leases.lost(stage.kind, id):
                self._leave(stage)
                self._forget(id)

    def _leave(self, stage: PlannedStage) -> None:
        """To the driver that holds its lease."""
        holder = held_by(self._store.storage, stage.kind, stage.id) or "another driver"
        self._elsewhere[stage.id] = (holder, self._store.failure(stage.kind, stage.id))
        self._note(stage, "elsewhere", f"{holder} works on it")

    # Settling -----------------------------------------------------------------------------------------

    def settle(self, outcome: Outcome) -> None:
        """Take note of how a stage ended."""
        stage = self.progress.stages[outcome.stage_id]
        if outcome.status == "complete" and outcome.executed:
            self.progress.executed.append(stage.id)
        if self.progress.status[stage.id] != "running":  # given up meanwhile: whoever has it now will tell
            return
        self._forget(stage.id)
        match outcome.status, outcome.failure:
            case "complete", _:
                self._complete(stage)
            case "failed", Failure() as failure if outcome.together:
                self._apart.add(stage.id)  # each by itself, and no attempt is counted
                self._note(stage, "waiting", f"{failure.kind}: {failure.message}; again by itself")
                self._ready(stage)
            case "failed", failure:
                self._failed(stage, failure or Failure(kind="worker_error", message="no reason was given"))
            case _:
                self._note(stage, "interrupted")
        try:
            # A training that stopped by itself has found that another driver had taken it over.
            by_itself = outcome.status == "interrupted" and not self._stop()
            if by_itself and self._leases.lost(stage.kind, stage.id):
                self._leave(stage)
            self._leases.release(stage.kind, stage.id)
        except (StoreError, OSError) as error:  # given back at the end
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
        if not self._store.present():  # whatever was said, it comes from that
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
            self._again[stage.id] = (time.monotonic() + wait, record)
            self._note(stage, "waiting", f"{record.kind}: {message}; again in {wait:.0f} s")

    def _failed_before(self, stage: PlannedStage) -> Failure | None:
        try:
            return self._store.failure(stage.kind, stage.id)
        except (StoreError, OSError):
            return None

    def _finally_failed(self, stage: PlannedStage, message: str) -> None:
        """Everything downstream waits for a repaired run; nothing else does."""
        self._note(stage, "failed", message)
        queue = [stage.id]
        while queue:
            for id in self._below.get(queue.pop(), ()):
                if self.progress.status[id] == "waiting":
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
    """Light stages of one key are one piece of work: both splits of a dataset under one encoder, the probes
    of one pair of feature arrays. The encoder, and the features, are loaded once."""
    match stage.spec:
        case FeatureSpec():
            return ("features", stage.spec.encoder, stage.spec.fingerprint)
        case ProbeSpec():
            return ("probe", *stage.spec.train_features, *stage.spec.test_features)
        case _:
            return (stage.kind, stage.id)
