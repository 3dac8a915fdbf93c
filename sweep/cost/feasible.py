"""Refuse what a machine or a cluster can never hold: Ray would wait for it forever."""

from __future__ import annotations

from collections.abc import Sequence

from ssl_sweep.sweep.cost.machine import gpus_here
from ssl_sweep.sweep.errors import InfeasibleError
from ssl_sweep.sweep.execution.backend import Cluster
from ssl_sweep.sweep.execution.capacity import Capacity
from ssl_sweep.sweep.grid.schema import Compute
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.specs import PretrainSpec
from ssl_sweep.sweep.util.cores import cores


def require_feasible(plan: Plan, compute: Compute, address: str | None) -> None:
    """Refuse settings that exclude each other, and what this machine can never hold, before anything starts.

    The size of a cluster is checked by ``require_room`` after connecting to it.

    Raises:
        InfeasibleError: gives what is needed and what is available.
    """
    if compute.mode == "in-process" and compute.workers > 1:
        raise InfeasibleError(
            f"compute.mode is in-process, which has one worker, but compute.workers is {compute.workers}",
            hint="set compute.mode to auto or workers",
        )
    if compute.compile and compute.activation_checkpointing:
        raise InfeasibleError(
            "compute.compile and compute.activation_checkpointing do not work together in this torch version",
            hint="remove one of them; the results stay the same",
        )
    if compute.cuda_graph and (compute.workers > 1 or compute.activation_checkpointing):
        raise InfeasibleError(
            "compute.cuda_graph is for one worker without activation checkpointing",
            hint="remove it, or set compute.workers to 1 and compute.activation_checkpointing to false",
        )
    fewest = compute.min_workers or compute.workers
    if fewest > compute.workers:
        raise InfeasibleError(
            f"compute.min_workers is {fewest}, more than compute.workers, which is {compute.workers}",
            hint="lower compute.min_workers or raise compute.workers",
        )
    for stage in plan.to_run:
        if isinstance(stage.spec, PretrainSpec) and stage.trains:
            batch = stage.spec.config.batch
            if batch % compute.workers or batch // compute.workers < 2:
                raise InfeasibleError(
                    f"a batch of {batch} images cannot be divided among {compute.workers} workers"
                    " (compute.workers)",
                    hint="choose a multiple of the workers, with at least two images for each",
                )
    if address not in (None, "local"):
        return
    each = compute.cpus_per_worker or 1
    need, have = fewest * each, cores()
    if any(stage.heavy for stage in plan.to_run) and need > have:
        raise InfeasibleError(
            f"a training needs {fewest} workers x {each} CPUs = {need} CPUs; this machine has {have}",
            hint="lower compute.workers or compute.cpus_per_worker, or use a larger cluster with --address",
        )
    for setting in _on_gpu(plan.to_run, compute):
        if not gpus_here():
            raise InfeasibleError(
                f"{setting} is gpu, but no CUDA GPU is visible on this machine",
                hint=f"remove {setting}, or use --address with a cluster that has GPUs",
            )


def require_room(stages: Sequence[PlannedStage], compute: Compute, cluster: Cluster) -> None:
    """Refuse stages that the connected cluster can never hold, even at its largest size.

    Raises:
        InfeasibleError: gives what is needed and what is available, by type of node.
    """
    if cluster.capacity is None:
        return
    for setting in _on_gpu(stages, compute):
        if not cluster.gpus:
            raise InfeasibleError(
                f"{setting} is gpu, but the cluster is limited to {cluster.capacity}",
                hint=f"remove {setting}, or allow the cluster a node with a GPU",
            )
    if any(stage.heavy for stage in stages):
        require_workers(compute, compute.min_workers or compute.workers, cluster.capacity)


def require_workers(compute: Compute, workers: int, capacity: Capacity) -> None:
    """Like ``require_room``, for one training with ``workers`` workers."""
    on_gpu = compute.device == "gpu" or (compute.device == "auto" and capacity.gpus > 0)
    cpus, gpus = compute.cpus_per_worker or 1, (compute.gpus_per_worker or 1.0) if on_gpu else 0.0
    if capacity.workers(cpus, gpus) < workers:
        each = f"{cpus} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
        raise InfeasibleError(
            f"a training needs {workers} workers of {each}, but the cluster is limited to {capacity}",
            hint="lower compute.workers, cpus_per_worker or gpus_per_worker, or allow the cluster more nodes",
        )


def _on_gpu(stages: Sequence[PlannedStage], compute: Compute) -> list[str]:
    """Return the settings that require a GPU for some of these stages."""
    found = []
    if compute.device == "gpu" and any(stage.heavy or stage.kind == "features" for stage in stages):
        found.append("compute.device")
    if compute.probe_device == "gpu" and any(stage.linear for stage in stages):
        found.append("compute.probe_device")
    return found
