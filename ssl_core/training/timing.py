"""How long the steps of a training take: the trainer itself on images of noise, for some seconds."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from ssl_sweep.data_ops.hashing import hash64
from ssl_sweep.data_ops.views.loader import ViewBatch
from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.training.reporter import LocalReporter, Reporter
from ssl_sweep.ssl_core.training.trainer import Interrupted, Training, TrainingImages, pretrain
from ssl_sweep.ssl_core.training.watch import LabelledSlice

_RESIDENT_BYTES = 256 * 1024**2  # of noise; more images than that repeat
_CLASSES = 100
_WATCHED = 384
_TAIL_S = 1.0
_WARM_STEPS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepTimes:
    """Means in seconds: of a step, of what an epoch's end adds, of a checkpoint. `steps` were timed."""

    step_s: float
    epoch_s: float
    checkpoint_s: float
    steps: int


def time_steps(
    config: PretrainConfig,
    images: int,
    folder: Path,
    *,
    warm_up_s: float,
    seconds: float,
    backend: Literal["auto", "torch", "dali"] = "auto",
    device: str = "cpu",
    threads: int = 1,
    activation_checkpointing: bool = False,
    compile: bool = False,
    watch: bool = False,
) -> StepTimes:
    """Train on `images` images of noise in `folder` and time the steps of `seconds` after the warm-up; as
    many as four at least, however long they take. A second more is trained and not counted, so that
    neighbours that started a little later are not alone at their end.
    """
    noise = _Noise(images, config.image_size)
    labels = np.arange(images) % _CLASSES
    data = TrainingImages(noise, hash64(0, np.arange(images)), labels, _CLASSES)
    watched = LabelledSlice(noise[np.arange(_WATCHED)], labels[:_WATCHED]) if watch else None
    timer = _Timer(folder, warm_up_s, seconds)
    try:
        pretrain(
            dataclasses.replace(config, epochs=1_000_000, steps=0),
            data,
            folder,
            timer,
            backend=backend,
            device=device,
            checkpoint_every_s=1e9,
            threads=threads,
            activation_checkpointing=activation_checkpointing,
            compile=compile,
            watched=watched,
            training=timer.training,
        )
    except Interrupted:
        return timer.times()
    raise AssertionError("a million epochs cannot end")


class _Timer(LocalReporter):
    """Stops the training when its time is up, and has made it a `_TimedTraining`."""

    def __init__(self, folder: Path, warm_up_s: float, seconds: float) -> None:
        super().__init__(folder)
        self._warm_up_s, self._seconds = warm_up_s, seconds

    def training(self, *args: Any) -> Training:
        self._timed = _TimedTraining(*args)
        return self._timed

    def stop_requested(self) -> bool:
        ends = self._timed.ends
        if len(ends) < _WARM_STEPS + 4:
            return False
        return ends[-1] - self._begin() >= self._seconds + _TAIL_S

    def _begin(self) -> float:
        """The end of the warm-up: of the first steps, and of so many seconds."""
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
    """`steps` in seconds, from the end of the one before to the end of it, without epoch ends and checkpoints
    between them; `ends` on the clock."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.steps: list[float] = []
        self.ends: list[float] = []
        self.epoch_ends: list[float] = []
        self.checkpoints: list[float] = []
        self._since = time.perf_counter()

    def step(self, replica: nn.Module, batch: ViewBatch) -> tuple[float, Tensor, float]:
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

    def _keep(self, reporter: Reporter, out_dir: Path) -> None:
        started = time.perf_counter()
        super()._keep(reporter, out_dir)
        self._since = time.perf_counter()
        self.checkpoints.append(self._since - started)


class _Noise:
    """(N, S, S, 3) uint8 at random, of which only so many are different as fit into memory."""

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
