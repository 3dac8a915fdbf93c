"""A method that learns next to nothing and takes as long as one wishes: fake work for tests of everything else.

SLEEP_METHOD_S is the seconds that each step sleeps. The encoder, its features and the checkpoints are real.
"""

from __future__ import annotations

import os
import time

from torch import Tensor

from ssl_core.config import PretrainConfig
from ssl_core.encoders import build_encoder
from ssl_core.methods import Method, StepOutput


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
