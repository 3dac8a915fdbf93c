"""Refuse what a machine or a cluster can never hold: Ray would wait for it without an end."""

from __future__ import annotations

from collections.abc import Sequence

from ssl_sweep.sweep.cost.machine import cores, gpus_here
from ssl_sweep.sweep.errors import InfeasibleError
from ssl_sweep.sweep.execution.backend import Cluster
from ssl_sweep.sweep.execution.capacity import Capacity
from ssl_sweep.sweep.grid.schema import Compute
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.specs import PretrainSpec


def require_feasible(plan: Plan, compute: Compute, address: str | None) -> None:
    """Refuse, before anything starts, what does not go together and what this machine can never hold; a
    cluster is asked once joined.

    Raises:
        InfeasibleError: names the need and what there is.
    """
    if compute.mode == "in-process" and compute.workers > 1:
        raise InfeasibleError(
            f"compute.mode is in-process and compute.workers is {compute.workers}: that mode has one worker",
            hint="set compute.mode to auto or workers",
        )
    if compute.compile and compute.activation_checkpointing:
        raise InfeasibleError(
            "compute.compile and compute.activation_checkpointing do not go together in this torch",
            hint="leave one of them out; the results are the same",
        )
    fewest = compute.min_workers or compute.workers
    if fewest > compute.workers:
        raise InfeasibleError(
            f"compute.min_workers is {fewest} and compute.workers is {compute.workers}",
            hint="min_workers is the smaller number",
        )
    for stage in plan.to_run:
        if isinstance(stage.spec, PretrainSpec) and stage.trains:
            batch = stage.spec.config.batch
            if batch % compute.workers or batch // compute.workers < 2:
                raise InfeasibleError(
                    f"a batch of {batch} cannot be shared by compute.workers = {compute.workers}",
                    hint="choose a batch that is a multiple of the workers, two images or more for each",
                )
    if address not in (None, "local"):
        return
    each = compute.cpus_per_worker or 1
    need, have = fewest * each, cores()
    if any(stage.heavy for stage in plan.to_run) and need > have:
        raise InfeasibleError(
            f"a training needs {fewest} workers x {each} CPUs = {need} CPUs; this machine has {have}",
            hint="lower compute.workers or compute.cpus_per_worker, or join a larger cluster with --address",
        )
    for setting in _on_gpu(plan.to_run, compute):
        if not gpus_here():
            raise InfeasibleError(
                f"{setting} is gpu, and no CUDA GPU is visible on this machine",
                hint=f"leave {setting} out, or join a cluster with GPUs with --address",
            )


def require_room(stages: Sequence[PlannedStage], compute: Compute, cluster: Cluster) -> None:
    """Refuse the stages that the connected cluster can never hold, whatever it grows to.

    Raises:
        InfeasibleError: names the need and what there is, by type of node.
    """
    if cluster.capacity is None:
        return
    for setting in _on_gpu(stages, compute):
        if not cluster.gpus:
            raise InfeasibleError(
                f"{setting} is gpu; the cluster can be no more than {cluster.capacity}",
                hint=f"leave {setting} out, or allow the cluster a node with a GPU",
            )
    if any(stage.heavy for stage in stages):
        require_workers(compute, compute.min_workers or compute.workers, cluster.capacity)


def require_workers(compute: Compute, workers: int, capacity: Capacity) -> None:
    """As `require_room`, for one training of that many workers."""
    on_gpu = compute.device == "gpu" or (compute.device == "auto" and capacity.gpus > 0)
    cpus, gpus = compute.cpus_per_worker or 1, (compute.gpus_per_worker or 1.0) if on_gpu else 0.0
    if capacity.workers(cpus, gpus) < workers:
        each = f"{cpus} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
        raise InfeasibleError(
            f"a training needs {workers} workers of {each}; the cluster can be no more than {capacity}",
            hint="lower compute.workers, cpus_per_worker or gpus_per_worker, or allow the cluster more nodes",
        )


def _on_gpu(stages: Sequence[PlannedStage], compute: Compute) -> list[str]:
    """The settings that ask for a GPU on behalf of some stage: what trains and what extracts features, and
    linear probes."""
    found = []
    if compute.device == "gpu" and any(stage.heavy or stage.kind == "features" for stage in stages):
        found.append("compute.device")
    if compute.probe_device == "gpu" and any(stage.linear for stage in stages):
        found.append("compute.probe_device")
    return found
