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
from ssl_sweep.sweep.planning.nodes import Node
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

    nodes: dict[str, Node]
    status: dict[str, str]
    messages: dict[str, str] = field(default_factory=dict)
    executed: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, nodes: Iterable[Node]) -> Progress:
        nodes = list(nodes)
        states = {"complete": "complete", "to_run": "waiting"}
        return cls({node.id: node for node in nodes}, {node.id: states[node.state] for node in nodes})

    def count(self, stage: str | None = None) -> Counter[str]:
        """How many stages (of one kind) are in each state."""
        wanted = (
            self.nodes.values() if stage is None else (n for n in self.nodes.values() if n.stage == stage)
        )
        return Counter(self.status[node.id] for node in wanted)

    def having(self, *states: str) -> list[Node]:
        return [node for node in self.nodes.values() if self.status[node.id] in states]


def execute(
    nodes: Sequence[Node],
    backend: Backend,
    store: Store,
    leases: Leases,
    *,
    stop: Callable[[], bool],
    grace_s: float,
    changed: Callable[[Node, str, str], None],
    tick: Callable[[Progress], None],
    allows: Callable[[Node], bool] = lambda node: True,
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
    walk = _Walk(nodes, backend, store, leases, stop, changed, allows)
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
        for node in walk.progress.having("waiting", "running", "elsewhere"):
            walk.progress.status[node.id] = "interrupted"
    return walk.progress


class _Walk:
    """Where one execution stands."""

    def __init__(
        self,
        nodes: Sequence[Node],
        backend: Backend,
        store: Store,
        leases: Leases,
        stop: Callable[[], bool],
        changed: Callable[[Node, str, str], None],
        allows: Callable[[Node], bool],
    ) -> None:
        self.progress = Progress.of(nodes)
        self._backend, self._store, self._leases = backend, store, leases
        self._stop, self._changed, self._allows = stop, changed, allows
        self._heavy: deque[Node] = deque()  # ready trainings, in the plan's order
        self._light: dict[tuple[str, ...], list[Node]] = {}  # ready light stages, by the input they share
        self._trainings: set[str] = set()  # in the back end's hands
        self._pieces: list[set[str]] = []  # light work there: the stages of each piece not ended yet
        self._elsewhere: dict[str, tuple[str, Failure | None]] = {}  # the other driver, an old failure
        self._again: dict[str, tuple[float, Failure]] = {}  # failed: when to try again
        self._attempts: dict[str, Attempts] = {}
        self._apart: set[str] = set()  # light stages that share no process with others any more
        self._looked = self._away_since = self._pause_until = -math.inf
        status = self.progress.status
        self._missing = {
            node.id: {up for up in node.upstream if status.get(up, "complete") != "complete"}
            for node in nodes
            if status[node.id] == "waiting"
        }
        self._below: dict[str, list[str]] = {}
        for id, above in self._missing.items():
            for up in above:
                self._below.setdefault(up, []).append(id)
            if not above:
                self._ready(self.progress.nodes[id])

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
            leased = [(node, self._lease(node)) for node in group[:_PROBES_AT_ONCE]]
            if any(taken is None for _, taken in leased):  # what was leased is leased still at the next try
                self._light[key] = [node for node in group if self.progress.status[node.id] == "waiting"]
                return
            self._light.pop(key)
            if group[_PROBES_AT_ONCE:]:
                self._light[key] = group[_PROBES_AT_ONCE:]
            piece = [node for node, taken in leased if taken]
            if piece:
                self._pieces.append({node.id for node in piece})
                for node in piece:
                    self._note(node, "running")
                self._backend.submit(piece)
        while self._heavy and self._backend.room_for(self._heavy[0]):
            if not self._allows(self._heavy[0]):
                self._note(self._heavy.popleft(), "interrupted", "it does not fit the budget")
                continue
            taken = self._lease(self._heavy[0])
            if taken is None:
                return
            node = self._heavy.popleft()
            if taken:
                self._trainings.add(node.id)
                self._note(node, "running")
                self._backend.train(node)

    def _lease(self, node: Node) -> bool | None:
        """Whether this driver is to do the stage; None where the store does not answer."""
        try:
            if not self._leases.take(node.stage, node.id):
                self._leave(node)
                return False
            # A training takes long enough for another driver to have done it since the plan was made.
            if node.heavy and self._store.complete(node.stage, node.id):
                self._leases.release(node.stage, node.id)
                self._complete(node)
                return False
        except (StoreError, OSError) as error:
            failure = failure_of(error)
            if failure.kind == "disk_full":
                self._failed(node, failure)
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
                self._ready(self.progress.nodes[id])

    def _follow_others(self) -> None:
        if not self._elsewhere:
            return
        leased = self._leases.leased()
        dead = {holder for holder, _ in self._elsewhere.values() if self._leases.dead(holder)}
        for id, (holder, before) in list(self._elsewhere.items()):
            node = self.progress.nodes[id]
            if (node.stage, id) in leased and holder not in dead:
                continue
            failure = None
            if self._store.complete(node.stage, id):
                self._complete(node)
            elif (failure := self._store.failure(node.stage, id)) and failure.final and failure != before:
                self._finally_failed(node, f"{failure.message} (in another run)")
            else:
                self._note(node, "waiting")
                self._ready(node)
            del self._elsewhere[id]

    def _give_up_lost(self) -> None:
        """After a suspension: what another driver has taken over is its own now; what is still done of it
        here ends without being counted."""
        running = self._trainings | {id for piece in self._pieces for id in piece}
        for id in running:
            node = self.progress.nodes[id]
            if self._leases.lost(node.stage, id):
                self._leave(node)
                self._forget(id)

    def _leave(self, node: Node) -> None:
        """To the driver that holds its lease."""
        holder = held_by(self._store.storage, node.stage, node.id) or "another driver"
        self._elsewhere[node.id] = (holder, self._store.failure(node.stage, node.id))
        self._note(node, "elsewhere", f"{holder} works on it")

    # Settling -----------------------------------------------------------------------------------------

    def settle(self, outcome: Outcome) -> None:
        """Take note of how a stage ended."""
        node = self.progress.nodes[outcome.node_id]
        if outcome.status == "complete" and outcome.executed:
            self.progress.executed.append(node.id)
        if self.progress.status[node.id] != "running":  # given up meanwhile: whoever has it now will tell
            return
        self._forget(node.id)
        match outcome.status, outcome.failure:
            case "complete", _:
                self._complete(node)
            case "failed", Failure() as failure if outcome.together:
                self._apart.add(node.id)  # each by itself, and no attempt is counted
                self._note(node, "waiting", f"{failure.kind}: {failure.message}; again by itself")
                self._ready(node)
            case "failed", failure:
                self._failed(node, failure or Failure(kind="worker_error", message="no reason was given"))
            case _:
                self._note(node, "interrupted")
        try:
            # A training that stopped by itself has found that another driver had taken it over.
            by_itself = outcome.status == "interrupted" and not self._stop()
            if by_itself and self._leases.lost(node.stage, node.id):
                self._leave(node)
            self._leases.release(node.stage, node.id)
        except (StoreError, OSError) as error:  # given back at the end
            self._no_answer(error)

    def _forget(self, id: str) -> None:
        self._trainings.discard(id)
        self._pieces = [left for piece in self._pieces if (left := piece - {id})]

    def _complete(self, node: Node) -> None:
        self._note(node, "complete")
        for id in self._below.get(node.id, ()):
            self._missing[id].discard(node.id)
            if not self._missing[id] and self.progress.status[id] == "waiting":
                self._ready(self.progress.nodes[id])

    def _failed(self, node: Node, failure: Failure) -> None:
        if not self._store.present():  # whatever was said, it comes from that
            failure = replace(failure, kind="store")
        if node.id not in self._attempts:
            self._attempts[node.id] = Attempts(self._failed_before(node))
        record = self._attempts[node.id].after(failure)
        unwritten = keep(self._store, node, record)
        message = f"{record.message} ({unwritten})" if unwritten else record.message
        if record.final:
            self._finally_failed(node, message)
        else:
            wait = backoff_s(record)
            self._again[node.id] = (time.monotonic() + wait, record)
            self._note(node, "waiting", f"{record.kind}: {message}; again in {wait:.0f} s")

    def _failed_before(self, node: Node) -> Failure | None:
        try:
            return self._store.failure(node.stage, node.id)
        except (StoreError, OSError):
            return None

    def _finally_failed(self, node: Node, message: str) -> None:
        """Everything downstream waits for a repaired run; nothing else does."""
        self._note(node, "failed", message)
        queue = [node.id]
        while queue:
            for id in self._below.get(queue.pop(), ()):
                if self.progress.status[id] == "waiting":
                    self._note(self.progress.nodes[id], "blocked", f"needs {node.label}, which failed")
                    queue.append(id)

    def _ready(self, node: Node) -> None:
        if node.heavy:
            self._heavy.append(node)
        else:
            key = (node.stage, node.id) if node.id in self._apart else _shared_input(node)
            self._light.setdefault(key, []).append(node)

    def _note(self, node: Node, status: str, message: str = "") -> None:
        self.progress.status[node.id] = status
        if message:
            self.progress.messages[node.id] = message
        self._changed(node, status, message)


def _shared_input(node: Node) -> tuple[str, ...]:
    """Light stages of one key are one piece of work: both splits of a dataset under one encoder, the probes
    of one pair of feature arrays. The encoder, and the features, are loaded once."""
    match node.spec:
        case FeatureSpec():
            return ("features", node.spec.encoder, node.spec.fingerprint)
        case ProbeSpec():
            return ("probe", *node.spec.train_features, *node.spec.test_features)
        case _:
            return (node.stage, node.id)
