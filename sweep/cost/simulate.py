"""How long a plan takes on a given cluster, by simulation.

Like ``execution.scheduler``, it starts light stages as they become ready and trainings in their order, as
many at once as fit.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class SimulatedStage:
    """One stage of the simulation."""

    id: str
    seconds: float
    """How long it takes."""
    cpus: float
    """CPU cores that it holds."""
    gpus: float
    """GPUs that it holds."""
    upstream: tuple[str, ...]
    """Stages that must end first. An id that is not simulated counts as complete."""
    heavy: bool
    """Whether it is a training: trainings start in their order."""


def makespan(stages: Sequence[SimulatedStage], cpus: float, gpus: float) -> float:
    """Return the seconds until the last stage ends. A stage that is larger than the cluster runs alone."""
    ids = {stage.id for stage in stages}
    missing = {stage.id: {up for up in stage.upstream if up in ids} for stage in stages}
    below: dict[str, list[SimulatedStage]] = {}
    for stage in stages:
        for up in missing[stage.id]:
            below.setdefault(up, []).append(stage)
    heavy: deque[SimulatedStage] = deque()
    light: deque[SimulatedStage] = deque()

    def ready(stage: SimulatedStage) -> None:
        (heavy if stage.heavy else light).append(stage)

    for stage in stages:
        if not missing[stage.id]:
            ready(stage)
    free = [cpus, gpus]
    running: list[tuple[float, int, SimulatedStage]] = []
    now, started = 0.0, 0

    def start_from(queue: deque[SimulatedStage]) -> None:
        nonlocal started
        while queue:
            stage = queue[0]
            fits = stage.cpus <= free[0] + _ROUNDING and stage.gpus <= free[1] + _ROUNDING
            if not fits and running:
                return
            queue.popleft()
            free[0], free[1] = free[0] - stage.cpus, free[1] - stage.gpus
            started += 1
            heapq.heappush(running, (now + stage.seconds, started, stage))

    while heavy or light or running:
        start_from(light)
        start_from(heavy)
        now, _, stage = heapq.heappop(running)
        free[0], free[1] = free[0] + stage.cpus, free[1] + stage.gpus
        for next_ in below.get(stage.id, ()):
            missing[next_.id].discard(stage.id)
            if not missing[next_.id]:
                ready(next_)
    return now
