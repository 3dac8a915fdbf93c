"""Encoders by name: images (n, 3, S, S) to features (n, feature_dim), the representation before any head."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ssl_sweep.ssl_core.config.plugins import load
from ssl_sweep.ssl_core.config.registry import ENCODERS
from ssl_sweep.ssl_core.encoders.base import Encoder


def build_encoder(name: str, image_size: int, *, zero_init_residual: bool = True) -> Encoder:
    """An encoder with random weights from torch's global generator; call it under ``torch_seed``.

    Up to 64 px the ResNets have the small-image stem and the ViTs small patches.

    Args:
        name: A name of ``config.registry.ENCODERS``, or of an encoder that another distribution adds.
        image_size: Side of the images in pixels.
        zero_init_residual: Start every residual branch of a ResNet at 0. A ViT ignores this.

    Raises:
        ValueError: The name is unknown, or a ViT cannot take images of this size.
    """
    options = ENCODERS[name].options if name in ENCODERS else {}
    build = load("encoder", name, Encoder)
    encoder: Encoder = build(image_size, zero_init_residual=zero_init_residual, **options)
    return encoder


@contextmanager
def torch_seed(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator inside the block, and restore the caller's state after it."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
