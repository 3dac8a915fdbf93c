"""How many CPU cores this process may use: one count for ``plan``, ``run``, ``doctor`` and Ray."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_SLURM = "SLURM_CPUS_ON_NODE"  # the cores of this job's step on this node
_V1 = ("cpu", "cpu,cpuacct")  # folders in which systems mount version 1 of the cpu controller
_V2 = ("", "unified")


def cores(root: Path = Path("/")) -> int:
    """Return how many CPU cores this process may use, at least 1.

    It is the smallest of three: the affinity (``taskset``, Slurm, a container's cpuset), the quota of the
    process's cgroups, rounded down to whole cores, and what Slurm gave this job on this node.

    Args:
        root: Root of the file system that holds ``proc`` and ``sys``.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    slurm = os.environ.get(_SLURM, "")
    allotted = float(slurm) if slurm.isascii() and slurm.isdigit() else math.inf
    return max(1, int(min(affinity, allotted, _quota(root))))


def _quota(root: Path) -> float:
    """The CPU quota of this process in cores; infinite without one."""
    return min(_quotas(root), default=math.inf)


def _quotas(root: Path) -> Iterator[float]:
    """The quotas of the process's cgroups and of all groups above them, for both versions of cgroups."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    mounts = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            folders = [mounts / name for name in _V2]
        elif "cpu" in controllers.split(","):
            folders = [mounts / name for name in _V1]
        else:
            continue
        for folder in folders:
            # Inside a container the path may be the host's. The container's group is then the mount itself.
            for part in (group := folder / path.strip("/"), *group.parents):
                if not part.is_relative_to(folder):
                    break
                yield from _quota_of(part)


def _quota_of(group: Path) -> Iterator[float]:
    with suppress(OSError, ValueError, ZeroDivisionError):  # ValueError: "max", no quota
        quota, period = (group / "cpu.max").read_text().split()
        yield int(quota) / int(period)
    with suppress(OSError, ValueError, ZeroDivisionError):
        used, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if int(used) > 0:  # -1: no quota
            yield int(used) / int(period)
