"""The interface between the scheduler and whatever runs stages: Ray, or processes in tests and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ssl_sweep.sweep.execution.capacity import Capacity
from ssl_sweep.sweep.execution.runtime import Runtime, TrainPlan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.states import State
from ssl_sweep.sweep.store.manifest import Failure


@dataclass(frozen=True)
class Outcome:
    """How a stage ended."""

    stage_id: str
    status: State
    """``complete``, ``failed`` or ``interrupted``."""
    failure: Failure | None = None
    """Why it failed."""
    executed: bool = True
    """False if it was complete before."""
    together: bool = False
    """The process of several stages died, and it is unknown which stage killed it."""


class Backend(Protocol):
    """Runs stages somewhere and reports how they ended.

    The store stays the truth: an outcome only tells the scheduler when to look. A back end never retries.
    """

    def room_for(self, stage: PlannedStage) -> bool:
        """Whether there is, or can be, room for this training. True if nothing runs."""

    def train(self, stage: PlannedStage) -> None:
        """Start a training."""

    def submit(self, stages: Sequence[PlannedStage]) -> None:
        """Start one piece of light work: stages of one kind that share their input."""

    def poll(self, timeout: float) -> list[Outcome]:
        """Wait at most ``timeout`` seconds and return what ended since the last call."""

    @property
    def light_slots(self) -> int:
        """How many pieces of light work should run now."""

    def close(self) -> None:
        """Release the workers and stop running work."""


@dataclass(frozen=True)
class Cluster:
    """The computers that a run can use."""

    cpus: float
    """The most CPUs that it can ever have."""
    gpus: float
    """The most GPUs that it can ever have."""
    nodes: int
    """Nodes now."""
    private: bool
    """Whether it was started for this run and has one node."""
    capacity: Capacity | None = None
    """What it can grow to; None if unknown."""


class Workplace(Protocol):
    """Where a run finds processors: Ray, or a replacement in tests and benchmarks."""

    def join(self, address: str | None) -> AbstractContextManager[Cluster]:
        """Connect to a cluster, or start a private one; release it at the end.

        Raises:
            InfeasibleError: No cluster answers.
        """

    def require_shared(self, root: Path) -> None:
        """Check that every node sees the store at ``root``.

        Raises:
            StoreError: A node does not.
        """

    def backend(self, runtime: Runtime, cluster: Cluster, plans: Mapping[str, TrainPlan]) -> Backend:
        """A back end on this cluster; ``plans`` has the resources of every training, by id."""
