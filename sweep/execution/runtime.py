"""How a sweep is executed on this cluster. Nothing in this module enters an identity."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_sweep.data_ops.sources.own_output import STORE_MARK
from ssl_sweep.ssl_core.config.training import TrainingOptions
from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.util.program import Program, require_program

if TYPE_CHECKING:
    from ssl_sweep.sweep.execution.stop import StopFlag
    from ssl_sweep.sweep.store.store import Store

_PATIENCE_S = 120.0  # seconds; a worker's store did answer when the run started


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """Resources of one training."""

    workers: int = 1
    cpus: float = 1.0
    """CPUs of each worker."""
    gpus: float = 0.0
    """GPUs of each worker."""
    in_process: bool = True
    """Whether the training runs in the process of its trial, and not in worker processes of its own."""
    predicted_s: float = 0.0
    """Predicted duration in seconds."""
    predicted_from: str = ""
    """Source of the rate behind the prediction: measured, calibrated, scaled or default guess."""
    least: int = 0
    """Number of workers with which it may start if there is no room for all; 0: only with all."""
    spread: bool = False
    """Whether its workers may be on several nodes."""

    @property
    def fewest(self) -> int:
        """The smallest number of workers that it starts with."""
        return self.least or self.workers


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What every process of a run needs to know; small and picklable."""

    store: str
    """URI of the store; each process opens it."""
    stop_file: Path
    """As soon as this file exists, trainings save a checkpoint and stop."""
    datasets: Mapping[str, str] = field(default_factory=dict)
    """Data fingerprint → id of the ``prepare`` stage with these images."""
    training: TrainingOptions = field(default_factory=TrainingOptions)
    """How every training runs."""
    gpu: bool = False
    """Whether networks run on GPUs."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """Identity of given weights → their file."""
    probe_device: str = "cpu"
    """The torch device on which linear probes are fitted; see ``LinearProbes``."""
    driver: str = ""
    """Name of the driver that leases the stages; "" if there are no leases."""
    hang_after_s: float = 900.0
    """Seconds without progress after which the process of a training is ended."""
    private: bool = False
    """Whether every process of the run is on this machine."""
    program: Program | None = None
    """The driver's program, which every process must run; None skips the check."""

    def open_store(self) -> Store:
        """The store. It must exist: a worker must not create one in the wrong place.

        Raises:
            StoreError: This node does not see the store.
            InfeasibleError: This process runs another program than the driver.
        """
        if self.program is not None:
            require_program(self.program, one_machine=self.private)
        return _opened(self.store)

    def stop_requested(self) -> bool:
        """Whether the run was asked to stop."""
        return self.stop_file.exists() or _flag(self.store, self.stop_file).is_up()


@lru_cache(maxsize=8)
def _opened(uri: str) -> Store:
    """One store for each process: its cache of an object store serves every stage of the process."""
    from ssl_sweep.sweep.store.store import Store

    store = Store(uri, patience_s=_PATIENCE_S)
    if not store.remote and not (store.root / STORE_MARK).exists():
        raise StoreError(
            f"the store {uri} is not visible on {platform.node()}",
            hint="put the store on a file system that every node mounts at the same path",
        )
    return store


@lru_cache(maxsize=8)
def _flag(uri: str, file: Path) -> StopFlag:
    from ssl_sweep.sweep.execution.stop import StopFlag

    return StopFlag(_opened(uri), file)
