"""What a measurement was made on, and the time it took."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import resource
from pathlib import Path


def header(*packages: str) -> str:
    """Date, processor, cores, load and the packages' versions, in one line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    load = f"load {os.getloadavg()[0]:.1f} before" if hasattr(os, "getloadavg") else ""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    cores = f"{os.cpu_count()} cores of {models[0] if models else platform.machine()}"
    parts = [f"{datetime.date.today()}", cores, load, f"Python {platform.python_version()}", *versions]
    return ", ".join(part for part in parts if part)


def cpu_seconds() -> float:
    """Of this process and its ended children, all threads."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
