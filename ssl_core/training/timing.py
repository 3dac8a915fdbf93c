"""How long the steps of a training take: the trainer itself, on images of noise, for some seconds."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from ssl_sweep.data_ops.hashing import hash64
from ssl_sweep.data_ops.views.loader import ViewBatch
from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.training.data import TrainingImages
from ssl_sweep.ssl_core.training.reporter import LocalReporter, Reporter
from ssl_sweep.ssl_core.training.trainer import (
    Interrupted,
    RuntimeOptions,
    Training,
    pretrain,
)
from ssl_sweep.ssl_core.training.watch import LabelledSlice

_RESIDENT_BYTES = 256 * 1024**2  # of noise; if the images need more, they repeat
_CLASSES = 100
_WATCHED = 384  # images
_TAIL_S = 1.0
_WARM_STEPS = 3
_FEWEST_STEPS = 4
_ONE_THREAD = RuntimeOptions(threads=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepTimes:
    """Mean times in seconds."""

    step_s: float
    epoch_s: float
    """What the end of an epoch adds."""
    checkpoint_s: float
    steps: int
    """Number of steps that were timed."""


def time_steps(
    config: PretrainConfig,
    images: int,
    folder: Path,
    options: RuntimeOptions = _ONE_THREAD,
    *,
    warm_up_s: float,
    seconds: float,
    watch: bool = False,
) -> StepTimes:
    """Train on images of noise and time the steps.

    One more second is trained and not counted, so that neighbours that started a little later are not alone
    at their end.

    Args:
        config: What is trained.
        images: Number of images.
        folder: Where the training writes.
        options: How it runs; checkpoints are saved only to time them.
        warm_up_s: Seconds that are not counted.
        seconds: Seconds that are counted, at least four steps.
        watch: Include a nearest-neighbour accuracy after every epoch.
    """
    noise = _Noise(images, config.image_size)
    labels = np.arange(images) % _CLASSES
    data = TrainingImages(noise, hash64(0, np.arange(images)), labels, _CLASSES)
    watched = LabelledSlice(noise[np.arange(_WATCHED)], labels[:_WATCHED]) if watch else None
    timer = _Timer(folder, warm_up_s, seconds)
    endless = dataclasses.replace(config, epochs=1_000_000, steps=0)
    options = dataclasses.replace(options, checkpoint_every_s=1e9, watched=watched)
    try:
        pretrain(endless, data, folder, timer, options, training=timer.training)
    except Interrupted:
        return timer.times()
    raise AssertionError("a million epochs cannot end")


class _Timer(LocalReporter):
    """Makes the training a ``_TimedTraining``, and stops it when its time is up."""

    def __init__(self, folder: Path, warm_up_s: float, seconds: float) -> None:
        super().__init__(folder)
        self._warm_up_s, self._seconds = warm_up_s, seconds

    def training(self, *args: Any) -> Training:
        self._timed = _TimedTraining(*args)
        return self._timed

    def stop_requested(self) -> bool:
        ends = self._timed.ends
        if len(ends) < _WARM_STEPS + _FEWEST_STEPS:
            return False
        return ends[-1] - self._begin() >= self._seconds + _TAIL_S

    def _begin(self) -> float:
        """End of the warm-up: after the first steps, and after its seconds."""
        return max(self._timed.ends[_WARM_STEPS - 1], self._timed.ends[0] + self._warm_up_s)

    def times(self) -> StepTimes:
        timed, begin = self._timed, self._begin()
        if not timed.epoch_ends:
            timed.end_epoch_now(self)
        last = max(begin + self._seconds, timed.ends[-1] - _TAIL_S)
        counted = [s for s, end in zip(timed.steps, timed.ends, strict=True) if begin < end <= last]
        counted = counted or timed.steps[_WARM_STEPS:]
        return StepTimes(
            step_s=sum(counted) / len(counted),
            epoch_s=float(np.median(timed.epoch_ends)),
            checkpoint_s=float(np.median(timed.checkpoints)),
            steps=len(counted),
        )


class _TimedTraining(Training):
    """Times each step in ``steps``, in seconds from the end of the step before it, without epoch ends and
    checkpoints between them. ``ends`` are times of the clock."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.steps: list[float] = []
        self.ends: list[float] = []
        self.epoch_ends: list[float] = []
        self.checkpoints: list[float] = []
        self._since = time.perf_counter()

    def step(self, replica: nn.Module, batch: ViewBatch) -> tuple[Tensor, Tensor, float]:
        result = super().step(replica, batch)
        self._last = (batch.epoch, result[1], result[2])
        now = time.perf_counter()
        self.steps.append(now - self._since)
        self.ends.append(now)
        self._since = now
        return result

    def end_epoch_now(self, reporter: Reporter) -> None:
        self._end_epoch(reporter, *self._last)

    def _end_epoch(self, reporter: Reporter, epoch: int, features: Tensor, rate: float) -> None:
        started = time.perf_counter()
        super()._end_epoch(reporter, epoch, features, rate)
        self._since = time.perf_counter()
        self.epoch_ends.append(self._since - started)

    def _save_checkpoint(self, reporter: Reporter, out_dir: Path) -> None:
        started = time.perf_counter()
        super()._save_checkpoint(reporter, out_dir)
        self._since = time.perf_counter()
        self.checkpoints.append(self._since - started)


class _Noise:
    """Random images (N, S, S, 3) uint8, which repeat so that they fit into memory."""

    dtype = np.dtype(np.uint8)

    def __init__(self, images: int, size: int) -> None:
        self.shape = (images, size, size, 3)
        different = max(1, min(images, _RESIDENT_BYTES // (3 * size * size)))
        shape = (different, size, size, 3)
        self._pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice | npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        rows = np.arange(len(self))[index] if isinstance(index, slice) else index
        found: npt.NDArray[np.uint8] = self._pixels[rows % len(self._pixels)]
        return found
