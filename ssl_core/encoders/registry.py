"""Encoders by name: images (n, 3, S, S) to features (n, feature_dim), the representation before any head."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torchvision.models.resnet import BasicBlock, Bottleneck

from ssl_sweep.ssl_core.config.pretrain import ENCODERS, SMALL_IMAGE
from ssl_sweep.ssl_core.encoders.base import Encoder
from ssl_sweep.ssl_core.encoders.resnets import DemoResNet, StandardResNet
from ssl_sweep.ssl_core.encoders.vits import StandardViT

__all__ = ["Encoder", "build_encoder", "torch_seed"]


def build_encoder(name: str, image_size: int, *, zero_init_residual: bool = True) -> Encoder:
    """An encoder with random weights from torch's global generator; put it under `torch_seed`.

    Up to 64 px the ResNets take the small-image stem and the ViTs small patches. `zero_init_residual` says
    nothing to a ViT. ValueError for an unknown name, or an image size that a ViT cannot take.
    """
    small = image_size <= SMALL_IMAGE

    def resnet(block: type, layers: list[int], feature_dim: int, width: int = 1) -> Encoder:
        return StandardResNet(
            block,
            layers,
            feature_dim=feature_dim,
            small_images=small,
            zero_init_residual=zero_init_residual,
            width=width,
        )

    match name:
        case "resnet-demo":
            return DemoResNet(zero_init_residual=zero_init_residual)
        case "resnet18":
            return resnet(BasicBlock, [2, 2, 2, 2], 512)
        case "resnet34":
            return resnet(BasicBlock, [3, 4, 6, 3], 512)
        case "resnet50":
            return resnet(Bottleneck, [3, 4, 6, 3], 2048)
        case "resnet50-2x":
            return resnet(Bottleneck, [3, 4, 6, 3], 2048, width=2)
        case "resnet50-4x":
            return resnet(Bottleneck, [3, 4, 6, 3], 2048, width=4)
        case "vit-s":
            return StandardViT(image_size, feature_dim=384, heads=6, small_images=small)
        case "vit-b":
            return StandardViT(image_size, feature_dim=768, heads=12, small_images=small)
    raise ValueError(f"no encoder {name!r}; use one of {', '.join(ENCODERS)}")


@contextmanager
def torch_seed(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator inside the block and put the caller's state back after it."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
