"""MoCo v2 (He et al. 2020; Chen, Fan et al. 2020): find the key of an image's other view among a queue of
earlier keys."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.distributed import gather
from ssl_sweep.ssl_core.encoders.build import build_encoder
from ssl_sweep.ssl_core.encoders.heads import plain_head
from ssl_sweep.ssl_core.methods.base import Method, StepOutput
from ssl_sweep.ssl_core.methods.losses import moco_loss
from ssl_sweep.ssl_core.methods.moving_average import follow, slow_copy

QUEUE = 65_536
"""Keys in the queue by default."""
MOMENTUM = 0.999


class MoCo(Method):
    """Query encoder and head, their slow copies for the keys, and the queue of keys (K, head_dim).

    The first view is the query, the second the key, and only the query learns, as in the official code.
    Batch norm is global over all workers, so keys need not be shuffled among them. On one device a shuffle
    would change nothing, since all keys share their statistics in any order.
    """

    queue: Tensor

    def __init__(self, config: PretrainConfig, n_classes: int = 0, n_images: int = 0) -> None:
        super().__init__()
        self.encoder = build_encoder(config.encoder, config.image_size)
        self.head = self.build_head(config, self.encoder.feature_dim)
        self.key_encoder, self.key_head = slow_copy(self.encoder), slow_copy(self.head)
        self.temperature = config.temperature
        self.momentum = config.momentum_encoder or MOMENTUM
        length = queue_length(config, n_images)
        width = config.head_dim if config.head_layers else self.encoder.feature_dim
        self.register_buffer("queue", F.normalize(torch.randn(length, width), dim=1))
        self._keys: Tensor | None = None  # of this step, until the optimiser has used the queue

    @classmethod
    def build_head(cls, config: PretrainConfig, in_dim: int) -> nn.Module:
        return plain_head(in_dim, config.head_dim, config.head_layers)

    def projection(self) -> nn.Module:
        return self.head

    def forward(self, views: tuple[Tensor, ...], labels: Tensor | None = None) -> StepOutput:
        """One step; ``features`` are the query encoder's, of the first view."""
        features = self.encoder(views[0])
        with torch.no_grad():
            keys = F.normalize(self.key_head(self.key_encoder(views[1])).float(), dim=1)
        self._keys = keys
        return StepOutput(moco_loss(self.head(features), keys, self.queue, self.temperature), features)

    @torch.no_grad()
    def after_step(self, step: int, total_steps: int) -> None:
        """The keys of all workers replace the oldest ones; the slow copies follow."""
        assert self._keys is not None
        keys = gather(self._keys).flatten(0, 1)
        start = step * len(keys) % len(self.queue)  # whole batches, so the step gives the place
        self.queue[start : start + len(keys)] = keys
        self._keys = None
        follow(self.key_encoder, self.encoder, self.momentum)
        follow(self.key_head, self.head, self.momentum)


def queue_length(config: PretrainConfig, n_images: int) -> int:
    """``config.queue`` or 65,536, at most the training images, rounded down to whole batches.

    A longer queue would hold several old keys of every image, also of the query's.
    """
    longest = config.queue or QUEUE
    longest = min(longest, n_images) if n_images else longest
    return max(1, longest // config.batch) * config.batch
