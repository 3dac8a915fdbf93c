"""Which program a process runs: its version, and a digest of its source files, which tells two builds of one
version apart. Driver and workers must run the same one."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import ssl_sweep
from ssl_sweep.sweep.errors import InfeasibleError

PACKAGE = "ssl_sweep"
FOLDER = Path(ssl_sweep.__file__).parent
"""The package's folder, which may be a whole clone."""
PARTS = ("sweep", "ssl_core", "data_ops")
"""The folders of the program in ``FOLDER``, beside its own modules."""
_ON_NODES = "install the same version on every node, or use `ssl-sweep submit`, which sends the program"


@dataclass(frozen=True)
class Program:
    """A program on a computer."""

    version: str
    """Its release; "unknown" if it was sent to a cluster and is not installed there."""
    digest: str
    """The first digits of the SHA-256 over its modules."""
    folder: str
    """Where it is."""

    def __str__(self) -> str:
        return f"ssl-sweep {self.version} ({self.digest}) in {self.folder}"


@lru_cache(maxsize=1)
def this_program() -> Program:
    """The program that this process runs."""
    modules = [*FOLDER.glob("*.py"), *(file for part in PARTS for file in (FOLDER / part).rglob("*.py"))]
    found = hashlib.sha256()
    for name, module in sorted((file.relative_to(FOLDER).as_posix(), file) for file in modules):
        found.update(f"{name}\0{hashlib.sha256(module.read_bytes()).hexdigest()}\n".encode())
    try:
        release = version("ssl-sweep")
    except PackageNotFoundError:
        release = "unknown"
    return Program(release, found.hexdigest()[:12], str(FOLDER))


def require_program(expected: Program, *, one_machine: bool) -> None:
    """Refuse to work for a driver that runs another program.

    Args:
        expected: the driver's program.
        one_machine: whether the driver is on this machine. The same folder then holds the same program, even
            if a file was edited since the driver started.

    Raises:
        InfeasibleError: this process runs another one than ``expected``.
    """
    if one_machine and expected.folder == str(FOLDER):
        return
    if this_program().digest != expected.digest:
        hint = "remove the folder of one of them from PYTHONPATH" if one_machine else _ON_NODES
        raise other_program(platform.node(), str(this_program()), expected, hint)


def other_program(node: str, found: str, expected: Program, hint: str = _ON_NODES) -> InfeasibleError:
    """The error for a node on which the workers run another program than the driver."""
    return InfeasibleError(
        f"the workers on {node} run {found}, but the driver runs {expected}",
        hint=hint,
    )
