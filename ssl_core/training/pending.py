"""The losses of steps that the device may not have finished yet.

On a GPU a step returns as soon as its work is queued; only reading a result waits for it. Reading the loss of
an earlier step waits for that step alone, while later ones are queued. So the GPU always has work, the number
of queued steps is bounded, and every loss is read.
"""

from __future__ import annotations

import math
from collections import deque

import torch
from torch import Tensor

from ssl_sweep.data_ops.views.loader import ViewBatch


class DivergedError(Exception):
    """The loss is no longer a finite number; this training has no usable result."""


class PendingLosses:
    """Gives each loss ``lag`` steps after its own.

    A batch is kept until its step is finished: what rendered it on a GPU could otherwise use its memory for
    another batch.
    """

    def __init__(self, lag: int) -> None:
        self._lag = lag
        self._waiting: deque[_Waiting] = deque()

    def add(self, batch: ViewBatch, rate: float, loss: Tensor) -> list[float]:
        """Take the loss of one step, at its learning rate; return those that are now old enough, in order.

        Raises:
            DivergedError: One of these is not finite.
        """
        self._waiting.append(_Waiting(batch, rate, loss))
        return [self._waiting.popleft().read() for _ in range(len(self._waiting) - self._lag)]

    def drain(self) -> list[float]:
        """All losses that were not returned yet, in order. Waits for the device.

        Raises:
            DivergedError: One of these is not finite.
        """
        return [self._waiting.popleft().read() for _ in range(len(self._waiting))]


class _Waiting:
    def __init__(self, batch: ViewBatch, rate: float, loss: Tensor) -> None:
        self._batch, self._rate, self._loss = batch, rate, loss.detach()
        self._finished: torch.cuda.Event | None = None
        if loss.is_cuda:
            self._loss = torch.empty((), dtype=loss.dtype, pin_memory=True)
            self._loss.copy_(loss.detach(), non_blocking=True)
            self._finished = torch.cuda.Event()
            self._finished.record()

    def read(self) -> float:
        if self._finished is not None:
            self._finished.synchronize()
        value = float(self._loss)
        if not math.isfinite(value):
            raise DivergedError(
                f"the loss is {value} at step {self._batch.step} (epoch {self._batch.epoch}, learning rate "
                f"{self._rate:.3g}); lower learning_rate, lengthen warmup_epochs, or raise temperature"
            )
        return value
