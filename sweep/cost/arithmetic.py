"""What a step costs by arithmetic, if nothing was measured: multiply-adds over the speed of the hardware.

The same arithmetic scales a measured rate to another method or other hardware.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from ssl_sweep.ssl_core.config.plugins import encoder_info
from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.config.registry import METHODS

Device = Literal["cpu", "gpu"]


# Billions of multiply-adds per second that a two-view training reaches, including augmentation, by a word of
# the hardware's name. A100: SimCLR with ResNet-50 at 224 px takes about 12 hours for 100 epochs of ImageNet
# on eight of them (FFCV-SSL), which is 370 images/s each. The others are scaled by memory bandwidth, which
# limits such a training. That gives 21,000 for an H200; the published 871 images/s of two-view ViT-S are
# 24,000. NVIDIA's supervised ResNet-50 needs no such views and is three times as fast (2,470 images/s on an
# A100). The CPU figure is for one core, measured on an AMD EPYC.
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


def speed(device: str, hardware: str) -> float:
    """Return billions of multiply-adds per second of one GPU or one CPU core."""
    if device == "cpu":
        return _ANY_CPU
    return next((value for name, value in _SPEEDS.items() if names(name, hardware)), _ANY_GPU)


def names(kind: str, hardware: str) -> bool:
    """Whether the full name of a device has ``kind`` as a word: an L40S is not an L4."""
    return kind in re.split(r"[^A-Za-z0-9]+", hardware)


def seconds_per_image(config: PretrainConfig, device: str, hardware: str) -> float:
    """Return the seconds that one image, with all its views, adds to a step on one device."""
    cost = METHODS[config.method].relative_cost if config.method in METHODS else 1.0
    views = 2 * cost  # the cost is relative to SimCLR, which has two views
    forward = encoder_info(config.encoder).multiply_adds(config.image_size)
    return views * _FORWARD_AND_BACK * forward / speed(device, hardware)
