"""A method that learns next to nothing and takes as long as one wishes: fake work for tests of all else.

The encoder, its features and the checkpoints are real. From the environment:
    SLEEP_METHOD_S     seconds that each step sleeps
    SLEEP_METHOD_HANG  a file: while it is there, the third step never ends
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from torch import Tensor

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.encoders.build import build_encoder
from ssl_sweep.ssl_core.methods import Method, StepOutput

_HANGS_AT = 2


class Sleep(Method):
    """The encoder sees two images a step, and draws their features together."""

    n_views = 1

    def __init__(self, config: PretrainConfig, n_classes: int = 0, n_images: int = 0) -> None:
        super().__init__()
        self.encoder = build_encoder(config.encoder, config.image_size)

    def forward(self, views: tuple[Tensor, ...], labels: Tensor | None = None) -> StepOutput:
        time.sleep(float(os.environ.get("SLEEP_METHOD_S", "0")))
        features = self.encoder(views[0][:2])
        return StepOutput(features.var(dim=0).mean(), features)

    def after_step(self, step: int, total_steps: int) -> None:
        hang = os.environ.get("SLEEP_METHOD_HANG")
        while hang and step == _HANGS_AT and Path(hang).exists():
            time.sleep(3600)
