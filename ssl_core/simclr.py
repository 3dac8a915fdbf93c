"""SimCLR (Chen et al. 2020): encoder and head, and the loss of a batch of two views."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ssl_core.config import PretrainConfig
from ssl_core.encoders import build_encoder
from ssl_core.heads import projection_head
from ssl_core.losses import nt_xent


class SimCLR(nn.Module):
    """Weights come from torch's global generator; build it under `torch_seed`."""

    def __init__(self, config: PretrainConfig) -> None:
        super().__init__()
        self.encoder = build_encoder(config.encoder, config.image_size)
        self.head = projection_head(self.encoder.feature_dim, config.head_dim, config.head_layers)
        self.temperature = config.temperature

    def forward(self, view1: Tensor, view2: Tensor) -> tuple[Tensor, Tensor]:
        """Loss, a scalar, and features (2n, feature_dim) of views (n, 3, S, S) each.

        Both views go through in one batch, so batch norm sees them together, as in the official code.
        """
        features = self.encoder(torch.cat([view1, view2]))
        z1, z2 = self.head(features).chunk(2)
        return nt_xent(z1, z2, self.temperature), features
