"""SimCLR (Chen et al. 2020): two views of an image find each other among all views of the batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.encoders.heads import build_head
from ssl_sweep.ssl_core.encoders.registry import build_encoder
from ssl_sweep.ssl_core.losses import nt_xent
from ssl_sweep.ssl_core.methods.base import Method, StepOutput


class SimCLR(Method):
    """Encoder and projection head under NT-Xent at `config.temperature`."""

    def __init__(self, config: PretrainConfig, n_classes: int = 0, n_images: int = 0) -> None:
        super().__init__()
        self.encoder = build_encoder(config.encoder, config.image_size)
        self.head = build_head(config, self.encoder.feature_dim)
        self.temperature = config.temperature

    def projection(self) -> nn.Module:
        return self.head

    def forward(self, views: tuple[Tensor, ...], labels: Tensor | None = None) -> StepOutput:
        """Both views go through in one batch, so batch norm sees them together, as in the official code."""
        features = self.encoder(torch.cat(views))
        z1, z2 = self.head(features).chunk(2)
        return StepOutput(nt_xent(z1, z2, self.temperature), features)
