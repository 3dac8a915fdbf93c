"""What the modules of this package share: the device to work on, and how a stage stops on request."""

from __future__ import annotations

from ssl_sweep.sweep.execution.runtime import Runtime


class StageInterrupted(Exception):
    """The stage stopped on request. The next run resumes it from its checkpoint, if it has one."""


def device_of(runtime: Runtime) -> str:
    """Return ``cuda`` or ``cpu``.

    Raises:
        RuntimeError: a GPU was reserved and torch cannot use it; working on the CPU would be far too slow.
    """
    import torch

    if runtime.gpu and not torch.cuda.is_available():
        raise RuntimeError("a GPU was reserved and torch cannot use it; run `ssl-sweep doctor` on that node")
    return "cuda" if runtime.gpu else "cpu"
