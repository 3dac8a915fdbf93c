"""Where and with what a stage ran: kept beside its result, never part of its identity."""

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
    """Installed versions of the packages that can change a number."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@lru_cache(maxsize=1)
def processor() -> str:
    """The processor's name as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def hardware(gpu: bool = False) -> str:
    """The accelerator's name for GPU work, else the processor's; torch is asked only if it is loaded."""
    torch = sys.modules.get("torch")
    if gpu and torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return processor()


def run_record(started: float, *, gpu: bool = False, **facts: Any) -> RunRecord:
    """The record of a stage that ends now and started at ``started`` (Unix seconds)."""
    device = "gpu" if gpu else "cpu"
    return RunRecord.since(started, device=device, hardware=hardware(gpu), versions=versions(), **facts)
