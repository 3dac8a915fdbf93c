"""SimCLR (Chen et al. 2020): two views of an image find each other among all views of the batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.encoders.build import build_encoder
from ssl_sweep.ssl_core.encoders.heads import projection_head
from ssl_sweep.ssl_core.methods.base import Method, StepOutput
from ssl_sweep.ssl_core.methods.losses import nt_xent


class SimCLR(Method):
    """Encoder and projection head under NT-Xent at ``config.temperature``."""

    def __init__(self, config: PretrainConfig, n_classes: int = 0, n_images: int = 0) -> None:
        super().__init__()
        self.encoder = build_encoder(config.encoder, config.image_size)
        self.head = self.build_head(config, self.encoder.feature_dim)
        self.temperature = config.temperature

    @classmethod
    def build_head(cls, config: PretrainConfig, in_dim: int) -> nn.Module:
        return projection_head(in_dim, config.head_dim, config.head_layers)

    def projection(self) -> nn.Module:
        return self.head

    def forward(self, views: tuple[Tensor, ...], labels: Tensor | None = None) -> StepOutput:
        """One step. Both views are one batch, so batch norm sees them together, as in the official code."""
        features = self.encoder(torch.cat(views))
        z1, z2 = self.head(features).chunk(2)
        return StepOutput(nt_xent(z1, z2, self.temperature), features)
