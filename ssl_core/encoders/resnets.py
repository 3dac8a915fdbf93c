"""ResNets: torchvision's, wider ones, and a narrow one for a CPU core."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from ssl_sweep.ssl_core.config.registry import SMALL_IMAGE
from ssl_sweep.ssl_core.encoders.base import Encoder


class StandardResNet(ResNet, Encoder):
    """torchvision's ResNet without its classifier; its parameter names are torchvision's.

    Args:
        image_size: Up to 64 px the stem is SimCLR's for CIFAR (appendix B.9): a 3x3 convolution of stride 1
            and no max-pooling.
        zero_init_residual: Start the last batch-norm gain of every residual block at 0, as SimCLR's code.
        depths: Blocks of each of the four stages.
        bottleneck: Use bottleneck blocks instead of basic ones.
        width: Multiplies every number of channels, as in SimCLR's ResNet-50 2x and 4x. (torchvision's "wide"
            ResNets widen only the middle of each block.)
    """

    def __init__(
        self,
        image_size: int,
        *,
        zero_init_residual: bool,
        depths: Sequence[int],
        bottleneck: bool,
        width: int,
    ) -> None:
        block = Bottleneck if bottleneck else BasicBlock
        super().__init__(block, list(depths), zero_init_residual=zero_init_residual)
        self.feature_dim = 512 * block.expansion * width
        self.layers = ("layer1", "layer2", "layer3", "layer4")
        self.fc = nn.Identity()
        if width > 1:
            self._widen(block, depths, width, zero_init_residual)
        if image_size <= SMALL_IMAGE:
            self.conv1 = nn.Conv2d(3, 64 * width, kernel_size=3, stride=1, padding=1, bias=False)
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
            self.maxpool = nn.Identity()

    def _widen(self, block: type[nn.Module], depths: Sequence[int], width: int, zero_init: bool) -> None:
        """Build all layers again: torchvision cannot set the width of the stem."""
        self.inplanes = 64 * width
        self.conv1 = nn.Conv2d(3, self.inplanes, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(self.inplanes)
        for stage, depth in enumerate(depths):
            planes, stride = 64 * width * 2**stage, 1 if stage == 0 else 2
            layer = ResNet._make_layer(self, block, planes, depth, stride=stride)
            setattr(self, f"layer{stage + 1}", layer)
        _initialise(self)
        if zero_init:
            zero_residual_gains(self)


class DemoResNet(Encoder):
    """A narrow ResNet for one CPU core at 32 px: stride-2 stem, one basic block per stage.

    Images of any size have the same stem.
    """

    def __init__(self, image_size: int, *, zero_init_residual: bool) -> None:
        super().__init__()
        self.feature_dim = 128
        self.layers = ("blocks.0", "blocks.1", "blocks.2", "blocks.3")
        widths, strides = (16, 32, 64, 128), (2, 1, 2, 2)
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        blocks, before = [], widths[0]
        for width, stride in zip(widths, strides, strict=True):
            blocks.append(_basic_block(before, width, stride))
            before = width
        self.blocks = nn.Sequential(*blocks)
        _initialise(self)
        if zero_init_residual:
            zero_residual_gains(self)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.blocks(self.stem(images))
        return maps.mean((2, 3))


def _initialise(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


def zero_residual_gains(module: nn.Module) -> None:
    """Start every residual branch at 0: the gain of its last batch norm."""
    for part in module.modules():
        last = getattr(part, "bn3", getattr(part, "bn2", None))
        if last is not None:
            nn.init.zeros_(last.weight)


def _basic_block(before: int, width: int, stride: int) -> nn.Module:
    shortcut = None
    if stride != 1 or before != width:
        shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))
    block: nn.Module = BasicBlock(before, width, stride, shortcut)
    return block
