"""A workplace of a few plain processes instead of Ray: it starts in a moment, so faults can be tried by the
hundred. What the processes do is real (`RealWork`) or made up (`fake_stages.FakeWork`)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Protocol

from ssl_core.reporter import LocalReporter
from sweep.backend import Cluster, Outcome
from sweep.errors import first_line
from sweep.nodes import Node
from sweep.runtime import Runtime, TrainPlan
from sweep.stages import StageInterrupted, perform_light, record_failure, run_training

_HERE = Path(__file__).parent
Job = Callable[[], list[Outcome]]


class Work(Protocol):
    """What a process does with stages; picklable."""

    def light(self, nodes: Sequence[Node], runtime: Runtime) -> list[Outcome]: ...

    def train(self, node: Node, runtime: Runtime, plan: TrainPlan) -> list[Outcome]: ...


class _Reporter(LocalReporter):
    """Also stops when the whole run was asked to."""

    def __init__(self, folder: Path, runtime: Runtime) -> None:
        super().__init__(folder)
        self._runtime = runtime

    def stop_requested(self) -> bool:
        return self._runtime.stop_requested()


@dataclass(frozen=True)
class RealWork:
    """The stages themselves."""

    def light(self, nodes: Sequence[Node], runtime: Runtime) -> list[Outcome]:
        return perform_light(nodes, runtime)

    def train(self, node: Node, runtime: Runtime, plan: TrainPlan) -> list[Outcome]:
        store = runtime.open_store()
        if store.complete(node.stage, node.id):
            return [Outcome(node.id, "complete")]
        try:
            run_training(runtime, node, plan, _Reporter(store.path(node.stage, node.id), runtime))
        except StageInterrupted:
            return [Outcome(node.id, "interrupted")]
        except Exception as error:
            record_failure(runtime, node, error)
            return [Outcome(node.id, "failed", first_line(error))]
        return [Outcome(node.id, "complete")]


@dataclass
class _Worker:
    """One process, and the stages of the job it has."""

    process: subprocess.Popen[bytes]
    jobs: Connection
    nodes: tuple[Node, ...] = ()

    @classmethod
    def start(cls) -> _Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, str(_HERE / "process_worker.py"), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=os.environ | {"PYTHONPATH": os.pathsep.join([str(_HERE), *filter(None, sys.path)])},
            )
        return cls(process, Connection(ours.detach()))

    def stop(self) -> None:
        self.jobs.close()
        self.process.kill()
        self.process.wait()


@dataclass
class ProcessWorkplace:
    """`workers` processes on this machine; the address is not looked at."""

    work: Work = field(default_factory=RealWork)
    workers: int = 2
    _pool: list[_Worker] = field(default_factory=list)

    @contextmanager
    def join(self, address: str | None) -> Iterator[Cluster]:
        self._pool = [_Worker.start() for _ in range(self.workers)]
        try:
            yield Cluster(float(self.workers), 0.0, 1, True)
        finally:
            for worker in self._pool:
                worker.stop()

    def require_shared(self, root: Path) -> None:
        """One machine sees its own folders."""

    def backend(
        self, runtime: Runtime, cluster: Cluster, plans: Mapping[str, TrainPlan]
    ) -> ProcessBackend:
        return ProcessBackend(self._pool, self.work, runtime, plans)


class ProcessBackend:
    """Light work before trainings, each job to the next free process."""

    def __init__(
        self, pool: list[_Worker], work: Work, runtime: Runtime, plans: Mapping[str, TrainPlan]
    ) -> None:
        self._pool, self._work, self._runtime, self._plans = pool, work, runtime, plans
        self._light: deque[tuple[Node, ...]] = deque()
        self._trainings: deque[Node] = deque()

    @property
    def light_slots(self) -> int:
        return 2 * len(self._pool)

    def train(self, nodes: Sequence[Node]) -> None:
        self._trainings.extend(nodes)

    def submit(self, nodes: Sequence[Node]) -> None:
        self._light.append(tuple(nodes))

    def poll(self, timeout: float) -> list[Outcome]:
        outcomes = self._start()
        busy = {worker.jobs: worker for worker in self._pool if worker.nodes}
        if not busy and not outcomes:
            time.sleep(timeout)
        for jobs in wait(list(busy), 0 if outcomes else timeout) if busy else ():
            outcomes += self._collect(busy[jobs])  # type: ignore[index]
        return outcomes + self._start()

    def close(self) -> None:
        """The processes stay for the next back end of the run."""

    def _start(self) -> list[Outcome]:
        """Give what waits to who is free; trainings that begin, or will not any more."""
        outcomes = []
        if self._runtime.stop_requested():
            outcomes = [Outcome(node.id, "interrupted") for node in self._trainings]
            self._trainings.clear()
        for worker in self._pool:
            if worker.nodes:
                continue
            if self._light:
                worker.nodes = self._light.popleft()
                worker.jobs.send(partial(self._work.light, worker.nodes, self._runtime))
            elif self._trainings:
                node = self._trainings.popleft()
                worker.nodes = (node,)
                worker.jobs.send(partial(self._work.train, node, self._runtime, self._plans[node.id]))
                outcomes.append(Outcome(node.id, "running"))
        return outcomes

    def _collect(self, worker: _Worker) -> list[Outcome]:
        nodes, worker.nodes = worker.nodes, ()
        try:
            outcomes: list[Outcome] = worker.jobs.recv()
            return outcomes
        except (EOFError, OSError):
            worker.stop()
            self._pool[self._pool.index(worker)] = _Worker.start()
            return [self._lost(node) for node in nodes]

    def _lost(self, node: Node) -> Outcome:
        if self._runtime.open_store().complete(node.stage, node.id):
            return Outcome(node.id, "complete")
        return Outcome(node.id, "failed", "the worker process died")
