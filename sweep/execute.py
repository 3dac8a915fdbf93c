"""Walk the plan's graph: start what is ready, note what ended, block what depends on a failure.

Knows nothing of Ray: any `Backend` will do. The store is the truth; this only decides what to start next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from sweep.backend import Backend, Outcome
from sweep.nodes import Node
from sweep.specs import FeatureSpec, ProbeSpec

# Probes in one piece of work: enough to pay for loading the features, few enough to spread over workers.
_PROBES_AT_ONCE = 32
_POLL_S = 0.1


@dataclass
class Progress:
    """The state of every stage of one execution: ``complete``, ``waiting``, ``running``, ``failed``,
    ``blocked`` or ``interrupted``; ``messages`` says why a stage failed."""

    nodes: dict[str, Node]
    status: dict[str, str]
    messages: dict[str, str] = field(default_factory=dict)
    executed: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, nodes: Iterable[Node]) -> Progress:
        nodes = list(nodes)
        states = {"complete": "complete", "to_run": "waiting", "blocked": "blocked"}
        return cls({node.id: node for node in nodes}, {node.id: states[node.state] for node in nodes})

    def count(self, stage: str | None = None) -> Counter[str]:
        """How many stages (of one kind) are in each state."""
        wanted = (
            self.nodes.values() if stage is None else (n for n in self.nodes.values() if n.stage == stage)
        )
        return Counter(self.status[node.id] for node in wanted)

    def having(self, *states: str) -> list[Node]:
        return [node for node in self.nodes.values() if self.status[node.id] in states]

    def ready(self, node: Node) -> bool:
        """Waiting, and everything it needs is there (what the plan does not hold was complete before)."""
        return self.status[node.id] == "waiting" and all(
            self.status.get(up, "complete") == "complete" for up in node.upstream
        )


def execute(
    nodes: Sequence[Node],
    backend: Backend,
    *,
    stop: Callable[[], bool],
    changed: Callable[[Node, str, str], None],
    tick: Callable[[Progress], None],
) -> Progress:
    """Run every stage of ``nodes`` that is to run; returns when none is left that can.

    Args:
        nodes: in topological order; complete ones are only looked up.
        stop: asked between steps; once true nothing new starts and running work is waited for.
        changed: called with (stage, new state, message) at every change.
        tick: called about ten times a second.
    """
    progress = Progress.of(nodes)

    def note(node: Node, status: str, message: str = "") -> None:
        progress.status[node.id] = status
        if message:
            progress.messages[node.id] = message
        changed(node, status, message)

    def settle(outcome: Outcome) -> None:
        node = progress.nodes[outcome.node_id]
        if outcome.status == "complete":
            progress.executed.append(node.id)
        note(node, outcome.status, outcome.message)
        if outcome.status == "failed":
            _block(node, progress, note)

    trainings: set[str] = set()  # in the back end's hands; those it has queued are shown as waiting
    running: set[str] = set()
    light: list[set[str]] = []  # the light work in flight: the stages of each piece not ended yet
    news = True  # something ended, so something may be ready: the graph is not walked for nothing
    while news or running:
        if news and not stop():
            # Trainings that wait for trainings (fine-tunings) are a second lot, started after the first.
            if not trainings & running:
                lot = [node for node in nodes if node.heavy and progress.ready(node)]
                trainings = {node.id for node in lot}
                running |= trainings
                if lot:
                    backend.train(lot)
            for group in _ready_groups(progress)[: max(0, backend.light_slots - len(light))]:
                backend.submit(group)
                light.append({node.id for node in group})
                running |= light[-1]
                for node in group:
                    note(node, "running")
        if not running:
            break
        outcomes = backend.poll(_POLL_S)
        for outcome in outcomes:
            settle(outcome)
        ended = {outcome.node_id for outcome in outcomes if outcome.status != "running"}
        running -= ended
        light = [left for piece in light if (left := piece - ended)]
        news = bool(ended)
        tick(progress)
    if stop():
        for node in progress.having("waiting"):
            progress.status[node.id] = "interrupted"
    return progress


def _block(failed: Node, progress: Progress, note: Callable[[Node, str, str], None]) -> None:
    """Everything downstream of a failure waits for a repaired run; nodes come in topological order."""
    lost = {failed.id}
    for node in progress.nodes.values():
        if progress.status[node.id] == "waiting" and lost.intersection(node.upstream):
            lost.add(node.id)
            note(node, "blocked", f"needs {failed.label}, which failed")


def _ready_groups(progress: Progress) -> list[list[Node]]:
    """Ready light stages, those that share an input together.

    Both splits of a dataset under one encoder are one piece of work, and so are the probes of one pair of
    feature arrays: the encoder, and the features, are loaded once.
    """
    groups: dict[tuple[str, ...], list[Node]] = {}
    for node in progress.nodes.values():
        if node.heavy or not progress.ready(node):
            continue
        match node.spec:
            case FeatureSpec():
                key: tuple[str, ...] = ("features", node.spec.encoder, node.spec.fingerprint)
            case ProbeSpec():
                key = ("probe", *node.spec.train_features, *node.spec.test_features)
            case _:
                key = (node.stage, node.id)
        groups.setdefault(key, []).append(node)
    return [
        group[start : start + _PROBES_AT_ONCE]
        for group in groups.values()
        for start in range(0, len(group), _PROBES_AT_ONCE)
    ]
