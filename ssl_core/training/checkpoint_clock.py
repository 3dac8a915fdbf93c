"""When the workers of a training keep a checkpoint, and when they stop."""

from __future__ import annotations

import time

import torch
import torch.distributed as dist

from ssl_sweep.ssl_core.distributed import rank, world_size
from ssl_sweep.ssl_core.training.reporter import Reporter

LOOK_EVERY_S = 0.5
"""How often rank 0 looks at the clock and asks whether to stop, in seconds."""


class CheckpointClock:
    """Agrees among workers when to keep a checkpoint, without a collective per step: at each look rank 0
    decides and says at which step the next look will be, about half a second ahead. Besides, every
    `every_steps` steps one is due (0: never)."""

    def __init__(
        self, reporter: Reporter, every_s: float, every_steps: int, step: int, device: torch.device
    ) -> None:
        self._reporter, self._every_s, self._every_steps, self._device = (
            reporter,
            every_s,
            every_steps,
            device,
        )
        self._kept_at = self._looked_at = time.monotonic()
        self._looked_step, self._next_step = step, step + 1
        self.stop = False

    def due(self, step: int) -> bool:
        """Whether every worker is to keep a checkpoint after `step` steps; sets `stop` where the training
        is to end."""
        by_step = self._every_steps > 0 and step % self._every_steps == 0
        by_time = step >= self._next_step and self._look(step)
        if by_step or by_time:
            self._kept_at = time.monotonic()
        return by_step or by_time

    def _look(self, step: int) -> bool:
        now = time.monotonic()
        asked = self._reporter.stop_requested()  # on every rank: a sign of life
        self.stop = rank() == 0 and asked
        keep = self.stop or now - self._kept_at >= self._every_s
        pace = (now - self._looked_at) / (step - self._looked_step)
        next_step = step + max(1, min(1000, int(LOOK_EVERY_S / max(pace, 1e-9))))
        if world_size() > 1:
            word = torch.tensor([self.stop, keep, next_step], device=self._device)
            dist.broadcast(word, src=0)
            stop, keep_word, next_step = word.tolist()
            self.stop, keep = bool(stop), bool(keep_word)
        self._looked_at, self._looked_step, self._next_step = now, step, next_step
        return keep
