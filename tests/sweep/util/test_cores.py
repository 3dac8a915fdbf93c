"""One count of cores: the affinity, the quota of a cgroup of either version, and Slurm's share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ssl_sweep.sweep.util import cores as counting
from ssl_sweep.sweep.util.cores import cores


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting.os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)


def group(root: Path, lines: str, files: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(lines)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V1 = "9:name=systemd:/\n4:memory:/m\n1:cpu,cpuacct:/docker/abc\n0::/\n"


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("lines", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "300000 100000\n"}, 3),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "250000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),  # less than one core still is one
        ("0::/\n", {"cpu.max": "damaged"}, 8),
        (V1, {"cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "-1", "memory/m/cpu.max": "100 100"}, 8),
        (V1, {"cpu/docker/abc/cpu.cfs_quota_us": "400000", "cpu/docker/abc/cpu.cfs_period_us": "100000"}, 4),
        # In a container the path is the host's, and the container's own group is the mount.
        (V1, {"cpu/cpu.cfs_quota_us": "500000", "cpu/cpu.cfs_period_us": "100000"}, 5),
        ("1:cpu:/\n0::/\n", {"unified/cpu.max": "600000 100000\n"}, 6),
    ],
)
def test_the_quota_of_a_cgroup_counts(
    tmp_path: Path, lines: str, files: dict[str, str], expected: int
) -> None:
    assert cores(group(tmp_path, lines, files)) == expected


def test_without_cgroups_the_affinity_counts(tmp_path: Path) -> None:
    assert cores(tmp_path) == 8


@pytest.mark.parametrize(("value", "expected"), [("2", 2), ("64", 8), ("", 8), ("many", 8), ("0", 1)])
def test_slurms_share_of_the_node_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, expected: int
) -> None:
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", value)
    assert cores(tmp_path) == expected


def test_plan_and_doctor_count_as_taskset_says(tmp_path: Path) -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from ssl_sweep.sweep.commands.doctor import diagnose\n"
        "from ssl_sweep.sweep.cost.machine import machine\n"
        "from ssl_sweep.sweep.grid.schema import Compute\n"
        "print(machine(Compute(device='cpu')).cpus, next(diagnose('store', None, None)).detail)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith("1.0 1 cores, "), done.stderr
