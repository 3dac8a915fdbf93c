"""Supervised training: cross entropy on the labels, with the encoder, data and trainer of the others."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.encoders.build import build_encoder
from ssl_sweep.ssl_core.methods.base import Method, StepOutput


class Supervised(Method):
    """Encoder and a linear classifier of ``n_classes``, the finest labels of the data.

    Raises:
        ValueError: ``n_classes`` is 0.
    """

    n_views = 1
    labelled = True

    def __init__(self, config: PretrainConfig, n_classes: int = 0, n_images: int = 0) -> None:
        super().__init__()
        if n_classes < 1:
            raise ValueError(f"method supervised has {n_classes} classes; give it images with labels")
        self.encoder = build_encoder(config.encoder, config.image_size)
        self.head = nn.Linear(self.encoder.feature_dim, n_classes)

    def forward(self, views: tuple[Tensor, ...], labels: Tensor | None = None) -> StepOutput:
        """Mean cross entropy; a label is 0 to n_classes - 1.

        Raises:
            ValueError: There are no labels.
        """
        if labels is None:
            raise ValueError("method supervised got images without labels; give every image one")
        features = self.encoder(views[0])
        return StepOutput(F.cross_entropy(self.head(features).float(), labels), features)
