"""What each training holds while it runs, and which of Train's two modes runs it."""

from __future__ import annotations

from ssl_sweep.sweep.cost.machine import Machine, gpu_name, machine
from ssl_sweep.sweep.cost.predict import Prediction, in_process
from ssl_sweep.sweep.execution.backend import Cluster
from ssl_sweep.sweep.execution.runtime import TrainPlan
from ssl_sweep.sweep.grid.schema import Compute
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.specs import FinetuneSpec


def machine_of(compute: Compute, cluster: Cluster) -> Machine:
    """The connected cluster. The kind of its GPUs is known where they are this machine's, or are given by
    compute.hardware."""
    found = machine(compute, cluster.cpus, cluster.gpus)
    cpus = cluster.cpus
    if cluster.capacity is not None and found.device == "gpu" and cluster.gpus:
        cpus = cluster.capacity.cpus_beside_gpus
    hardware = compute.hardware or (gpu_name() if found.device == "gpu" else found.hardware)
    return Machine(cpus=cpus, gpus=cluster.gpus, device=found.device, hardware=hardware)


def train_plan(stage: PlannedStage, compute: Compute, predicted: Prediction, place: Machine) -> TrainPlan:
    """The resources of one training and the mode that runs it.

    The resources do not depend on what else is to run: the number of threads can move the last bits of a
    sum, and a resumed sweep must give the numbers of an undisturbed one. Both modes go on from the same
    checkpoints.
    """
    on_gpu = place.device == "gpu"
    # A fine-tuning is on a label budget: short, one worker, done again from the start where it is lost.
    alone = isinstance(stage.spec, FinetuneSpec)
    return TrainPlan(
        workers=1 if alone else compute.workers,
        cpus=float(compute.cpus_per_worker or (cpus_per_gpu(place) if on_gpu else 1)),
        gpus=(compute.gpus_per_worker or 1.0) if on_gpu else 0.0,
        in_process=alone or in_process(compute, predicted.seconds),
        predicted_s=round(predicted.seconds, 3),
        predicted_from=predicted.source,
        least=0 if alone else compute.min_workers or 0,
        spread=compute.placement == "spread",
    )


def cpus_per_gpu(place: Machine) -> int:
    """A GPU's even part of the processors, for the pipeline that feeds it; 8 are plenty."""
    return max(1, min(8, int(place.cpus // max(1.0, place.gpus))))
