"""Rotation prediction (Gidaris et al. 2018): by which of four right angles is the image turned?"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.encoders.build import build_encoder
from ssl_sweep.ssl_core.methods.base import Method, StepOutput

ROTATIONS = 4


class Rotation(Method):
    """Encoder and a linear classifier of the four rotations.

    Every step turns each view all four ways, as in the official code: the step sees four times the batch.
    The turn is exact (transposes and flips) and comes after crop and flip. The paper's network is a
    Network-in-Network; here it is the config's encoder.
    """

    n_views = 1

    def __init__(self, config: PretrainConfig, n_classes: int = 0, n_images: int = 0) -> None:
        super().__init__()
        self.encoder = build_encoder(config.encoder, config.image_size)
        self.head = nn.Linear(self.encoder.feature_dim, ROTATIONS)

    def forward(self, views: tuple[Tensor, ...], labels: Tensor | None = None) -> StepOutput:
        """Mean cross entropy over 4n images; ``features`` (4n, feature_dim) are those of all rotations."""
        turned, targets = all_rotations(views[0])
        features = self.encoder(turned)
        return StepOutput(F.cross_entropy(self.head(features).float(), targets), features)


def all_rotations(images: Tensor) -> tuple[Tensor, Tensor]:
    """Images (n, c, S, S) turned by 0, 90, 180 and 270 degrees, as (4n, c, S, S) with one rotation of all
    images after the other; and the index of each rotation, (4n,)."""
    turned = torch.cat([torch.rot90(images, turns, (2, 3)) for turns in range(ROTATIONS)])
    targets = torch.arange(ROTATIONS, device=images.device).repeat_interleave(len(images))
    return turned.contiguous(memory_format=torch.channels_last), targets
