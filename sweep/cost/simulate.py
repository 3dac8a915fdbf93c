"""How long a plan takes on a given cluster: the graph is played through, without running anything.

As `sweep.execute` does it: light stages as they become ready, trainings in their order, as many at once as
there is room for.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Job:
    """One stage: `seconds` on so many CPUs and GPUs, once all of `upstream` are done (what is not in the list
    is done already). Heavy ones keep their order."""

    id: str
    seconds: float
    cpus: float
    gpus: float
    upstream: tuple[str, ...]
    heavy: bool


def makespan(jobs: Sequence[Job], cpus: float, gpus: float) -> float:
    """Seconds until the last job has ended. A job that is larger than the cluster runs alone."""
    ids = {job.id for job in jobs}
    missing = {job.id: {up for up in job.upstream if up in ids} for job in jobs}
    below: dict[str, list[Job]] = {}
    for job in jobs:
        for up in missing[job.id]:
            below.setdefault(up, []).append(job)
    heavy: deque[Job] = deque()
    light: deque[Job] = deque()

    def ready(job: Job) -> None:
        (heavy if job.heavy else light).append(job)

    for job in jobs:
        if not missing[job.id]:
            ready(job)
    free = [cpus, gpus]
    running: list[tuple[float, int, Job]] = []
    now, started = 0.0, 0

    def start_from(queue: deque[Job]) -> None:
        nonlocal started
        while queue:
            job = queue[0]
            fits = job.cpus <= free[0] + _ROUNDING and job.gpus <= free[1] + _ROUNDING
            if not fits and running:
                return
            queue.popleft()
            free[0], free[1] = free[0] - job.cpus, free[1] - job.gpus
            started += 1
            heapq.heappush(running, (now + job.seconds, started, job))

    while heavy or light or running:
        start_from(light)
        start_from(heavy)
        now, _, job = heapq.heappop(running)
        free[0], free[1] = free[0] + job.cpus, free[1] + job.gpus
        for next_ in below.get(job.id, ()):
            missing[next_.id].discard(job.id)
            if not missing[next_.id]:
                ready(next_)
    return now
