"""How a sweep is executed here and now. Nothing in this module enters an identity."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.store.mounted import MARK

if TYPE_CHECKING:
    from ssl_sweep.sweep.execution.stop import StopFlag
    from ssl_sweep.sweep.store.store import Store

_PATIENCE_S = 120.0  # a worker's store was there when the run began


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """Resources of one training: its workers, what each holds, and which of Train's two modes runs it.
    `predicted_s` seconds it was to take before it began, by a rate that is `predicted_from` (measured, …).
    It may start with `least` workers where there is no room for all; 0 is with all or not at all."""

    workers: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    in_process: bool = True
    predicted_s: float = 0.0
    predicted_from: str = ""
    least: int = 0
    spread: bool = False

    @property
    def fewest(self) -> int:
        return self.least or self.workers


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What every process of a run needs to know; small and picklable.

    Attributes:
        store: the store's URI; processes open it themselves.
        datasets: data fingerprint → id of the ``prepare`` stage that holds those images.
        stop_file: while this file exists, trainings checkpoint and stop.
        backend: ``auto``, ``torch`` or ``dali``, the augmentation back end.
        checkpoint_every_s: seconds between checkpoints of a training.
        gpu: networks run on GPUs.
        weights: identity of given weights → the file that holds them.
        checkpoint_every_steps, activation_checkpointing, compile: see ``ssl_core.trainer.pretrain``.
        watch_knn: judge the encoder by nearest neighbours after each epoch.
        probe_device: where linear probes are fitted, as torch calls it; see ``LinearProbes``.
        driver: in whose name stages are leased; '' where nobody leases any.
        hang_after_s: seconds without progress after which a training's process is ended.
        private: every process of the run is on this machine.
    """

    store: str
    stop_file: Path
    datasets: Mapping[str, str] = field(default_factory=dict)
    backend: Literal["auto", "torch", "dali"] = "auto"
    checkpoint_every_s: float = 30.0
    gpu: bool = False
    weights: Mapping[str, str] = field(default_factory=dict)
    checkpoint_every_steps: int = 0
    activation_checkpointing: bool = False
    compile: bool = False
    watch_knn: bool = False
    probe_device: str = "cpu"
    driver: str = ""
    hang_after_s: float = 900.0
    private: bool = False

    def open_store(self) -> Store:
        """The store, which must exist already: a worker never creates one in the wrong place."""
        return _opened(self.store)

    def stop_requested(self) -> bool:
        """Whether the run was asked to stop."""
        return self.stop_file.exists() or _flag(self.store, self.stop_file).is_up()


@lru_cache(maxsize=8)
def _opened(uri: str) -> Store:
    """One store per process: what it has seen of an object store serves every stage of the process."""
    from ssl_sweep.sweep.store.store import Store

    store = Store(uri, patience_s=_PATIENCE_S)
    if not store.remote and not (store.root / MARK).exists():
        raise StoreError(
            f"the store {uri} is not visible on {platform.node()}",
            hint="put the store on a file system that every node mounts at the same path",
        )
    return store


@lru_cache(maxsize=8)
def _flag(uri: str, file: Path) -> StopFlag:
    from ssl_sweep.sweep.execution.stop import StopFlag

    return StopFlag(_opened(uri), file)
