"""Calibration on a Ray cluster: each copy is a task that holds what a worker of a training would hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ssl_sweep.sweep.cluster.connect import connect
from ssl_sweep.sweep.cost.calibrate_job import Job, Measured, measure, warm
from ssl_sweep.sweep.cost.feasible import require_workers
from ssl_sweep.sweep.cost.machine import Machine, machine_of
from ssl_sweep.sweep.grid.schema import Compute


@contextmanager
def ray_crew(compute: Compute, address: str) -> Iterator[RayCrew]:
    """A crew on the cluster's processors.

    Raises:
        InfeasibleError: no cluster answers, or a worker does not fit on any node.
    """
    with connect(address) as cluster:
        if cluster.capacity is not None:
            require_workers(compute, 1, cluster.capacity)
        yield RayCrew(machine_of(compute, cluster), compute)


class RayCrew:
    """Measures in tasks of the connected cluster."""

    def __init__(self, machine: Machine, compute: Compute) -> None:
        self.machine = machine
        self._gpus = (compute.gpus_per_worker or 1.0) if machine.device == "gpu" else 0.0

    def measure(self, jobs: Sequence[Job]) -> list[Measured]:
        import ray

        needs = {"num_cpus": jobs[0].threads, "num_gpus": self._gpus, "max_retries": 0}
        # A task sees only its own GPU, as number 0.
        ray.get([ray.remote(**needs)(warm).remote() for _ in jobs])
        return list(ray.get([ray.remote(**needs)(measure).remote(replace(job, gpu=None)) for job in jobs]))
