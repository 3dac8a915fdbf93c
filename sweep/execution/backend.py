"""What runs stages: the contract between the orchestrator and Ray (or any other executor)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ssl_sweep.sweep.execution.capacity import Capacity
from ssl_sweep.sweep.execution.runtime import Runtime, TrainPlan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.store.manifest import Failure


@dataclass(frozen=True)
class Outcome:
    """How a stage ended: ``complete``, ``failed`` or ``interrupted``; `failure` is of a failed one.
    `executed` is False for what was complete before. `together`: a process died under several stages, and
    which of them it died of nobody knows."""

    stage_id: str
    status: str
    failure: Failure | None = None
    executed: bool = True
    together: bool = False


class Backend(Protocol):
    """Runs stages somewhere and says how they ended.

    The store stays the truth: an outcome only tells the orchestrator when to look. A back end never tries
    again by itself.
    """

    def room_for(self, stage: PlannedStage) -> bool:
        """Whether to hand over this training: there is, or can be, room for it; True where nothing runs."""

    def train(self, stage: PlannedStage) -> None:
        """Begin a training."""

    def submit(self, stages: Sequence[PlannedStage]) -> None:
        """Start one piece of light work: stages of one kind that share their input."""

    def poll(self, timeout: float) -> list[Outcome]:
        """Wait at most ``timeout`` seconds and return what ended since the last call."""

    @property
    def light_slots(self) -> int:
        """How many pieces of light work are worth having in flight now."""

    def close(self) -> None:
        """Release workers; running work is dropped."""


@dataclass(frozen=True)
class Cluster:
    """What there is to work with; `private` where it is this run's own. `cpus` and `gpus` are all that it can
    ever have, `nodes` those of now; `capacity` is None where nobody knows what it can become."""

    cpus: float
    gpus: float
    nodes: int
    private: bool
    capacity: Capacity | None = None


class Workplace(Protocol):
    """Where a run finds processors: Ray, or whatever else tests and benchmarks put in its place."""

    def join(self, address: str | None) -> AbstractContextManager[Cluster]:
        """Connect, or start a private instance; release it at the end. InfeasibleError where none answers."""

    def require_shared(self, root: Path) -> None:
        """StoreError where the store at `root` is not seen by every node."""

    def backend(self, runtime: Runtime, cluster: Cluster, plans: Mapping[str, TrainPlan]) -> Backend:
        """Something that runs stages here; `plans` has the resources of every training, by id."""
