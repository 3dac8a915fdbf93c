"""What a step costs by arithmetic: multiply-adds over the speed of the hardware, where nothing was measured.

It is also what one measured rate is scaled by to another method or hardware.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig

Device = Literal["cpu", "gpu"]


@dataclass(frozen=True)
class Arithmetic:
    """Billions of multiply-adds of one forward pass with the small-image stem at 32 px and with the ImageNet
    stem at 224 px, millions of parameters, and the width of the features."""

    small: float
    large: float
    parameters: float
    width: int

    def forward(self, size: int) -> float:
        """Billions of multiply-adds of one view of `size` pixels."""
        return self.small * (size / 32) ** 2 if size <= 64 else self.large * (size / 224) ** 2


_ENCODERS: Mapping[str, Arithmetic] = {
    "resnet-demo": Arithmetic(0.0033, 0.16, 0.31, 128),
    "resnet18": Arithmetic(0.56, 1.8, 11.2, 512),
    "resnet34": Arithmetic(1.16, 3.7, 21.3, 512),
    "resnet50": Arithmetic(1.30, 4.1, 23.5, 2048),
    "resnet50-2x": Arithmetic(5.1, 16.0, 93.9, 4096),
    "resnet50-4x": Arithmetic(20.4, 64.0, 375.0, 8192),
    "vit-s": Arithmetic(1.4, 4.6, 21.7, 384),
    "vit-b": Arithmetic(5.6, 17.6, 85.8, 768),
}
# Billions of multiply-adds a second that a two-view training reaches, its augmentation included, by a part of
# the hardware's name. A100: SimCLR, ResNet-50 at 224 px, 100 epochs of ImageNet in about 12 hours on eight
# (FFCV-SSL), 370 images/s each. The others in proportion to their memory bandwidth, which bounds such a
# training: 21,000 for an H200, on which 871 images/s of two-view ViT-S, 24,000, were published.
# NVIDIA's supervised ResNet-50 without any such views is three times as fast (2,470 images/s on an A100).
# A CPU: one core, measured on an AMD EPYC.
_SPEEDS: Mapping[str, float] = {
    "H200": 21_000.0,
    "H100": 15_000.0,
    "A100": 9_000.0,
    "V100": 4_000.0,
    "A10G": 2_700.0,
    "L40S": 3_900.0,
    "L4": 1_350.0,
    "T4": 1_300.0,
}
_ANY_GPU, _ANY_CPU = 9_000.0, 30.0
_FORWARD_AND_BACK = 3
# Time of a method's step against SimCLR's on the same images, measured with the demo encoder on a CPU.
_EFFORT = {"moco-v2": 0.9, "byol": 1.4, "rotation": 1.5, "jigsaw": 1.2, "inpainting": 2.0, "supervised": 0.45}


def arithmetic(encoder: str) -> Arithmetic:
    """An encoder's; one that is not known here counts as a ResNet-50."""
    return _ENCODERS.get(encoder, _ENCODERS["resnet50"])


def speed(device: str, hardware: str) -> float:
    """Billions of multiply-adds a second of one GPU, or of one CPU core."""
    if device == "cpu":
        return _ANY_CPU
    return next((value for name, value in _SPEEDS.items() if names(name, hardware)), _ANY_GPU)


def names(kind: str, hardware: str) -> bool:
    """Whether a device's full name has the kind as a word: an L40S is no L4."""
    return kind in re.split(r"[^A-Za-z0-9]+", hardware)


def seconds_per_image(config: PretrainConfig, device: str, hardware: str) -> float:
    """A pretraining image's part of a step, all its views, on one device."""
    views = 2 * _EFFORT.get(config.method, 1.0)  # the effort is against SimCLR's two views
    forward = arithmetic(config.encoder).forward(config.image_size)
    return views * _FORWARD_AND_BACK * forward / speed(device, hardware)
