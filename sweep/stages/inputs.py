"""What the stages of one piece of light work share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ssl_sweep.sweep.execution.runtime import Runtime
from ssl_sweep.sweep.protocols.base import Made
from ssl_sweep.sweep.spec.specs import ProbeSpec
from ssl_sweep.sweep.stages.data import open_dataset
from ssl_sweep.sweep.store.store import Store


class Inputs:
    """What the stages of one piece of light work are given. The features of the last probe stay open."""

    def __init__(self, runtime: Runtime, store: Store) -> None:
        self.runtime, self.store = runtime, store
        self._key: tuple[str, ...] = ()
        self._shared: dict[str, Any] = {}
        self.device = runtime.probe_device

    def open(self, spec: ProbeSpec) -> None:
        """Set ``train`` and ``test`` to the features that ``spec`` names, and ``data`` to their dataset."""
        from ssl_sweep.ssl_core.evaluation.fusion import FusedFeatures

        key = (*spec.train_features, *spec.test_features, spec.fingerprint)
        if key == self._key:
            return
        self.data = open_dataset(self.runtime, self.store, spec.fingerprint)
        self.train = FusedFeatures([self._array(id) for id in spec.train_features])
        self.test = FusedFeatures([self._array(id) for id in spec.test_features])
        self._shared.clear()
        self._key = key

    def shared(self, name: str, make: Callable[[], Made]) -> Made:
        """See ``protocols.base.Features``."""
        if name not in self._shared:
            self._shared[name] = make()
        made: Made = self._shared[name]
        return made

    def _array(self, id: str) -> np.ndarray:
        array: np.ndarray = np.load(
            self.store.fetch("features", id, ["x.npy"]) / "x.npy", mmap_mode="r", allow_pickle=False
        )
        return array
