"""The host, hardware and packages with which a stage ran: kept beside its result, never part of its
identity."""

from __future__ import annotations

import platform
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ssl_sweep.sweep.store.manifest import RunRecord

_PACKAGES = ("ssl-sweep", "torch", "torchvision", "ray", "numpy", "scikit-learn", "nvidia-dali-cuda130")


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """The installed versions of Python and of the packages that can change a result."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@lru_cache(maxsize=1)
def processor() -> str:
    """The processor's name as the system reports it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def hardware(gpu: bool = False) -> str:
    """The GPU's name for GPU work, if torch is loaded and finds one; else the processor's name."""
    torch = sys.modules.get("torch")
    if gpu and torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return processor()


def run_record(started: float, *, gpu: bool = False, **facts: Any) -> RunRecord:
    """The record of a stage that ends now and began at ``started``, a Unix time in seconds."""
    device = "gpu" if gpu else "cpu"
    return RunRecord.since(started, device=device, hardware=hardware(gpu), versions=versions(), **facts)
