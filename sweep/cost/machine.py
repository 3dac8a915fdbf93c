"""What a sweep would run on, found without importing torch or Ray."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ssl_sweep.sweep.cost.arithmetic import Device
from ssl_sweep.sweep.grid.schema import Compute
from ssl_sweep.sweep.store.provenance import processor

_DRIVER = Path("/proc/driver/nvidia/gpus")
_ASSUMED_GPU = "NVIDIA A100"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Processors and GPUs to share out; `device` is what networks run on and `hardware` its name, '' where
    nobody knows. `assumed`: the GPUs are not here, so the plan is for others."""

    cpus: float
    gpus: float
    device: Device
    hardware: str
    assumed: bool = False

    @property
    def label(self) -> str:
        """`2 x AMD EPYC 9B45`"""
        count = self.gpus if self.device == "gpu" else self.cpus
        kind = self.hardware or ("GPU" if self.device == "gpu" else "CPU core")
        return f"{count:g} x {kind}" + (" (assumed)" if self.assumed else "")


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def gpus_here() -> int:
    """GPUs that the NVIDIA driver shows and CUDA_VISIBLE_DEVICES leaves."""
    there = len(list(Path("/dev").glob("nvidia[0-9]*")))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return there
    return min(there, len([name for name in visible.split(",") if name.strip() not in ("", "-1")]))


def gpu_name() -> str:
    """As CUDA names the first GPU; '' where the driver says nothing."""
    for information in sorted(_DRIVER.glob("*/information")):
        for line in information.read_text(errors="replace").splitlines():
            if line.startswith("Model:"):
                return line.partition(":")[2].strip()
    return ""


def machine(compute: Compute, cpus: float | None = None, gpus: float | None = None) -> Machine:
    """This machine, or the cluster of `cpus` and `gpus`. Where the grid asks for GPUs and there are none, as
    many as one training takes are assumed, of the kind that compute.hardware names."""
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
