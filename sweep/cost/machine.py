"""What a sweep runs on: this machine, a cluster, or one that is only assumed. No torch, no Ray."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ssl_sweep.sweep.cost.arithmetic import Device
from ssl_sweep.sweep.execution.backend import Cluster
from ssl_sweep.sweep.grid.schema import Compute
from ssl_sweep.sweep.store.provenance import processor
from ssl_sweep.sweep.util.cores import cores

_DRIVER = Path("/proc/driver/nvidia/gpus")
_ASSUMED_GPU = "NVIDIA A100"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Processors and GPUs that the stages of a plan share."""

    cpus: float
    """CPU cores."""
    gpus: float
    """GPUs; 0 if networks run on CPUs."""
    device: Device
    """What networks run on."""
    hardware: str
    """Name of the device, '' if unknown."""
    assumed: bool = False
    """Whether the devices are not on this machine: the plan is for another one."""

    @property
    def label(self) -> str:
        """`2 x AMD EPYC 9B45`"""
        count = self.gpus if self.device == "gpu" else self.cpus
        kind = self.hardware or ("GPU" if self.device == "gpu" else "CPU core")
        return f"{count:g} x {kind}" + (" (assumed)" if self.assumed else "")


def gpus_here() -> int:
    """Return how many GPUs the NVIDIA driver shows and ``CUDA_VISIBLE_DEVICES`` allows."""
    there = len(list(Path("/dev").glob("nvidia[0-9]*")))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return there
    return min(there, len([name for name in visible.split(",") if name.strip() not in ("", "-1")]))


def gpu_name() -> str:
    """Return CUDA's name of the first GPU, or '' if the driver does not give one."""
    for information in sorted(_DRIVER.glob("*/information")):
        for line in information.read_text(errors="replace").splitlines():
            if line.startswith("Model:"):
                return line.partition(":")[2].strip()
    return ""


def machine(compute: Compute, cpus: float | None = None, gpus: float | None = None) -> Machine:
    """Return this machine, or a cluster with ``cpus`` cores and ``gpus`` GPUs if these are given.

    If the grid asks for GPUs and there are too few, enough for one training are assumed, of the type that
    ``compute.hardware`` names.
    """
    have = gpus_here() if gpus is None else gpus
    on_gpu = compute.device == "gpu" or (compute.device == "auto" and have > 0)
    each = compute.gpus_per_worker or 1.0
    assumed = on_gpu and (gpus is not None or not have)
    if not on_gpu:
        hardware = compute.hardware or processor()
    else:
        hardware = compute.hardware or ("" if assumed else gpu_name()) or _ASSUMED_GPU
    count = max(have, each * compute.workers) if on_gpu else 0.0
    here = float(cores()) if cpus is None else cpus
    return Machine(
        cpus=max(here, 8.0 * count) if assumed and cpus is None else here,
        gpus=float(count),
        device="gpu" if on_gpu else "cpu",
        hardware=hardware,
        assumed=assumed or (not on_gpu and cpus is not None),
    )


def machine_of(compute: Compute, cluster: Cluster) -> Machine:
    """Return the connected cluster as a machine.

    The GPUs are those that ``compute.hardware`` names, or else the same as this machine's.
    """
    found = machine(compute, cluster.cpus, cluster.gpus)
    cpus = cluster.cpus
    if cluster.capacity is not None and found.device == "gpu" and cluster.gpus:
        cpus = cluster.capacity.cpus_beside_gpus
    hardware = compute.hardware or (gpu_name() if found.device == "gpu" else found.hardware)
    return Machine(cpus=cpus, gpus=cluster.gpus, device=found.device, hardware=hardware)


def cpus_per_gpu(place: Machine) -> int:
    """Return how many CPU cores go with one GPU: an even share, at most 8, which feed any pipeline here."""
    return max(1, min(8, int(place.cpus // max(1.0, place.gpus))))
