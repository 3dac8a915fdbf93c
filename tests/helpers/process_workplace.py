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
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Protocol

from ssl_sweep.sweep.execution.backend import Cluster, Outcome
from ssl_sweep.sweep.execution.failures import death
from ssl_sweep.sweep.execution.runtime import Runtime, TrainPlan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.stages.perform import perform_light

_HERE = Path(__file__).parent
Job = Callable[[], list[Outcome]]


class Work(Protocol):
    """What a process does with stages; picklable."""

    def light(self, stages: Sequence[PlannedStage], runtime: Runtime) -> list[Outcome]: ...

    def train(self, stage: PlannedStage, runtime: Runtime, plan: TrainPlan) -> list[Outcome]: ...


@dataclass(frozen=True)
class RealWork:
    """The stages themselves."""

    def light(self, stages: Sequence[PlannedStage], runtime: Runtime) -> list[Outcome]:
        return perform_light(stages, runtime)

    def train(self, stage: PlannedStage, runtime: Runtime, plan: TrainPlan) -> list[Outcome]:
        from ssl_sweep.sweep.stages.training import train

        return [train(stage, runtime, plan)]


@dataclass
class _Worker:
    """One process, and the stages of the job it has."""

    process: subprocess.Popen[bytes]
    jobs: Connection
    stages: tuple[PlannedStage, ...] = ()

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

    def backend(self, runtime: Runtime, cluster: Cluster, plans: Mapping[str, TrainPlan]) -> ProcessBackend:
        return ProcessBackend(self._pool, self.work, runtime, plans)


class ProcessBackend:
    """Light work before trainings, each job to the next free process."""

    def __init__(
        self, pool: list[_Worker], work: Work, runtime: Runtime, plans: Mapping[str, TrainPlan]
    ) -> None:
        self._pool, self._work, self._runtime, self._plans = pool, work, runtime, plans
        self._waiting: deque[tuple[tuple[PlannedStage, ...], Job]] = deque()

    @property
    def light_slots(self) -> int:
        return 2 * len(self._pool)

    def room_for(self, stage: PlannedStage) -> bool:
        return not self._waiting and any(not worker.stages for worker in self._pool)

    def train(self, stage: PlannedStage) -> None:
        job = partial(self._work.train, stage, self._runtime, self._plans[stage.id])
        self._waiting.append(((stage,), job))
        self._start()

    def submit(self, stages: Sequence[PlannedStage]) -> None:
        stages = tuple(stages)
        self._waiting.appendleft((stages, partial(self._work.light, stages, self._runtime)))
        self._start()

    def poll(self, timeout: float) -> list[Outcome]:
        busy = {worker.jobs: worker for worker in self._pool if worker.stages}
        if not busy:
            time.sleep(timeout)
        outcomes = []
        for jobs in wait(list(busy), timeout) if busy else ():
            outcomes += self._collect(busy[jobs])  # type: ignore[index]
        self._start()
        return outcomes

    def close(self) -> None:
        """The processes stay for the next back end of the run."""

    def _start(self) -> None:
        """Give what waits to who is free."""
        for worker in self._pool:
            if self._waiting and not worker.stages:
                worker.stages, job = self._waiting.popleft()
                worker.jobs.send(job)

    def _collect(self, worker: _Worker) -> list[Outcome]:
        stages, worker.stages = worker.stages, ()
        try:
            outcomes: list[Outcome] = worker.jobs.recv()
            return outcomes
        except (EOFError, OSError):
            worker.stop()
            self._pool[self._pool.index(worker)] = _Worker.start()
            said = f"exit code {worker.process.returncode}"
            return [replace(self._lost(stage, said), together=len(stages) > 1) for stage in stages]

    def _lost(self, stage: PlannedStage, said: str) -> Outcome:
        store = self._runtime.open_store()
        if store.complete(stage.kind, stage.id):
            return Outcome(stage.id, "complete")
        return Outcome(stage.id, "failed", death(stage, store, said))
