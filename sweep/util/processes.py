"""Whether a process is still alive, as far as this machine can tell."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """One process of one machine. Its id alone may be used again, so its start counts too."""

    host: str
    boot: str
    space: str
    """Namespace of process ids: each container has its own."""
    pid: int
    started: str
    """Ticks since the boot."""

    @classmethod
    def this(cls) -> Process:
        return cls(platform.node(), _boot(), _space(), os.getpid(), _started(os.getpid()))

    def alive(self) -> bool | None:
        """Whether it is still there; None if this machine cannot tell."""
        if (self.host, self.boot, self.space) != (platform.node(), _boot(), _space()):
            return None
        gone = ended(self.pid)
        if gone is not False:
            return None if gone is None else False
        return _started(self.pid) == self.started


@lru_cache(maxsize=1)
def here() -> str:
    """The machine, and the container on it, in which a process id has a meaning."""
    return f"{platform.node()}-{''.join(filter(str.isdigit, _space()))}"


def ended(pid: int) -> bool | None:
    """Whether no process of this machine has this id; None if the system does not say."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return None
    return False


def _space() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process started, in ticks since the boot; '' for a zombie, which has ended already."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
