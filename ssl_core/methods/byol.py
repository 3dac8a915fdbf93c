"""BYOL (Grill et al. 2020): predict a slow copy's projection of the other view; no negatives."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.encoders.build import build_encoder
from ssl_sweep.ssl_core.encoders.heads import wide_head
from ssl_sweep.ssl_core.methods.base import Method, StepOutput
from ssl_sweep.ssl_core.methods.losses import byol_loss
from ssl_sweep.ssl_core.methods.moving_average import follow, slow_copy

MOMENTUM = 0.996
HIDDEN = 4096
"""Largest hidden width of projector and predictor by default."""


class BYOL(Method):
    """Online encoder, projector and predictor, and the slow target of the first two.

    Projector and predictor have the same hidden width, see ``predictor_width``.
    """

    def __init__(self, config: PretrainConfig, n_classes: int = 0, n_images: int = 0) -> None:
        super().__init__()
        self.encoder = build_encoder(config.encoder, config.image_size)
        width = self.encoder.feature_dim
        out_dim = config.head_dim if config.head_layers else width
        self.head = self.build_head(config, width)
        self.predictor = wide_head(out_dim, predictor_width(config, width), out_dim, 2)
        self.target_encoder, self.target_head = slow_copy(self.encoder), slow_copy(self.head)
        self.momentum = config.momentum_encoder or MOMENTUM

    @classmethod
    def build_head(cls, config: PretrainConfig, in_dim: int) -> nn.Module:
        return wide_head(in_dim, predictor_width(config, in_dim), config.head_dim, config.head_layers)

    def projection(self) -> nn.Module:
        return self.head

    def forward(self, views: tuple[Tensor, ...], labels: Tensor | None = None) -> StepOutput:
        """One step; the loss is the sum of both directions. Each view is a batch, so batch norm sees one kind
        of view at a time, as in the official code."""
        features = [self.encoder(view) for view in views]
        predictions = [self.predictor(self.head(f)) for f in features]
        with torch.no_grad():
            targets = [self.target_head(self.target_encoder(view)) for view in views]
        loss = byol_loss(predictions[0], targets[1]) + byol_loss(predictions[1], targets[0])
        return StepOutput(loss, torch.cat(features))

    def after_step(self, step: int, total_steps: int) -> None:
        """Move the target towards the online network, ever more slowly."""
        momentum = target_momentum(step, total_steps, self.momentum)
        follow(self.target_encoder, self.encoder, momentum)
        follow(self.target_head, self.head, momentum)


def predictor_width(config: PretrainConfig, in_dim: int) -> int:
    """Hidden width of projector and predictor: ``config.predictor_dim``, or twice the features' width.

    The default is at most 4096. That is the published width for a ResNet-50, and in proportion to it for a
    smaller encoder.
    """
    return config.predictor_dim or min(HIDDEN, 2 * in_dim)


def target_momentum(step: int, total_steps: int, base: float) -> float:
    """Share of the target that stays after step 0, 1, …: from ``base`` to 1 along half a cosine (Grill et al.
    2020, section 3.2)."""
    return 1 - (1 - base) * (math.cos(math.pi * step / total_steps) + 1) / 2
