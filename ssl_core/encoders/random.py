"""The baseline of every comparison: an encoder that learned nothing."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_sweep.data_ops.hashing import derive_seed
from ssl_sweep.data_ops.images import ImageArray
from ssl_sweep.data_ops.views.torch_views import pixels_to_input
from ssl_sweep.ssl_core.config.plugins import require_planned
from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.encoders.base import Encoder
from ssl_sweep.ssl_core.encoders.build import build_encoder, torch_seed

_BATCH = 512


def random_encoder(config: PretrainConfig, images: ImageArray) -> Encoder:
    """``config.encoder`` with the standard initialisation of ``config.seed`` and the batch-norm statistics of
    ``images`` (N, S, S, 3), in eval mode.

    The statistics are the plain average over near-equal batches of the clean images, in order: every
    channel then has unit scale, as in a trained encoder. Residual gains are 1. The 0 with which a training
    starts would disable the residual branches.
    """
    require_planned("encoder", config.encoder, config.encoder_version)
    with torch_seed(derive_seed("random-encoder", config.seed)):
        encoder = build_encoder(config.encoder, config.image_size, zero_init_residual=False)
    norms = [module for module in encoder.modules() if isinstance(module, _BatchNorm)]
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # for torch: use a cumulative average
    encoder.to(memory_format=torch.channels_last)
    encoder.train()
    with torch.no_grad():
        for part in np.array_split(np.arange(len(images)), math.ceil(len(images) / _BATCH)):
            batch = pixels_to_input(np.asarray(images[part[0] : part[-1] + 1]))
            encoder(batch.contiguous(memory_format=torch.channels_last))
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
    encoder.eval()
    return encoder
