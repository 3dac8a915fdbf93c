"""Encoders: images (n, 3, S, S) to features (n, feature_dim), the representation before any head."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from ssl_core.config import ENCODERS, SMALL_IMAGE


class Encoder(nn.Module):
    """What every encoder is: a module from normalised images (n, 3, S, S) to features (n, feature_dim)."""

    feature_dim: int


class StandardResNet(ResNet, Encoder):
    """torchvision's ResNet without its classifier; its parameter names are torchvision's.

    `small_images` takes SimCLR's CIFAR stem (appendix B.9): a 3x3 convolution of stride 1 and no max-pooling.
    `zero_init_residual` starts the last batch-norm gain of every residual block at 0, as SimCLR's code does.
    """

    def __init__(
        self,
        block: type[nn.Module],
        layers: list[int],
        *,
        feature_dim: int,
        small_images: bool,
        zero_init_residual: bool,
    ) -> None:
        super().__init__(block, layers, zero_init_residual=zero_init_residual)
        self.feature_dim = feature_dim
        self.fc = nn.Identity()
        if small_images:
            self.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
            self.maxpool = nn.Identity()


class DemoResNet(Encoder):
    """A narrow ResNet for one CPU core at 32 px: stride-2 stem, one basic block per stage."""

    def __init__(self, *, zero_init_residual: bool) -> None:
        super().__init__()
        self.feature_dim = 128
        widths, strides = (16, 32, 64, 128), (2, 1, 2, 2)
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        blocks, before = [], widths[0]
        for width, stride in zip(widths, strides, strict=True):
            blocks.append(_basic_block(before, width, stride))
            before = width
        self.blocks = nn.Sequential(*blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, BasicBlock):
                    nn.init.zeros_(module.bn2.weight)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.blocks(self.stem(images))
        return maps.mean((2, 3))


def _basic_block(before: int, width: int, stride: int) -> nn.Module:
    shortcut = None
    if stride != 1 or before != width:
        shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))
    block: nn.Module = BasicBlock(before, width, stride, shortcut)
    return block


def build_encoder(name: str, image_size: int, *, zero_init_residual: bool = True) -> Encoder:
    """An encoder with random weights from torch's global generator; put it under `torch_seed`.

    Up to 64 px the ResNets take the small-image stem. ValueError for an unknown name.
    """
    small = image_size <= SMALL_IMAGE
    if name == "resnet18":
        return StandardResNet(
            BasicBlock,
            [2, 2, 2, 2],
            feature_dim=512,
            small_images=small,
            zero_init_residual=zero_init_residual,
        )
    if name == "resnet50":
        return StandardResNet(
            Bottleneck,
            [3, 4, 6, 3],
            feature_dim=2048,
            small_images=small,
            zero_init_residual=zero_init_residual,
        )
    if name == "resnet-demo":
        return DemoResNet(zero_init_residual=zero_init_residual)
    raise ValueError(f"no encoder {name!r}; use one of {', '.join(ENCODERS)}")


@contextmanager
def torch_seed(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator inside the block and put the caller's state back after it."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
