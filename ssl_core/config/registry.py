"""What is built in: the training methods and the encoders, one entry each. No torch here.

A new method is a file in ``ssl_core/methods`` and an entry of ``METHODS``; a new encoder is a class in
``ssl_core/encoders`` and an entry of ``ENCODERS``. ``plugins`` adds those of other distributions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ssl_sweep.ssl_core.config import presets

FEATURES, HEAD_OUTPUT = "h", "g(h)"
"""The representation before the projection head, and the one after it."""
SMALL_IMAGE = 64
"""Up to this side in pixels, encoders take the small-image stem and configs the CIFAR preset."""
PATCH_SIDES = (4, 16)
"""Sides in pixels of a ViT's patches: of images up to ``SMALL_IMAGE``, and of larger ones."""


@dataclass(frozen=True, kw_only=True)
class MethodInfo:
    """A built-in method."""

    title: str
    """The name as its authors write it."""
    target: str = ""
    """``module:Class`` in ``ssl_core.methods``; empty if the method trains nothing."""
    views: int = 1
    """Views of an image that it compares, the ``n_views`` of its class."""
    labelled: bool = False
    """Whether it learns from labels."""
    settings: tuple[str, ...] = ()
    """Fields of ``PretrainConfig`` that this method reads and some others ignore."""
    relative_cost: float = 1.0
    """Time of a step relative to SimCLR's on the same images, measured with ``resnet-demo`` on a CPU."""
    preset: presets.Preset = presets.simclr
    """Its published settings."""


_HEAD = ("head_layers", "head_dim")
METHODS: Mapping[str, MethodInfo] = {
    "random": MethodInfo(title="random"),
    "simclr": MethodInfo(
        title="SimCLR",
        target="simclr:SimCLR",
        views=2,
        settings=("temperature", *_HEAD),
    ),
    "supervised": MethodInfo(
        title="supervised",
        target="supervised:Supervised",
        labelled=True,
        relative_cost=0.45,
        preset=presets.supervised,
    ),
    "rotation": MethodInfo(
        title="rotation", target="rotation:Rotation", relative_cost=1.5, preset=presets.rotation
    ),
    "moco-v2": MethodInfo(
        title="MoCo v2",
        target="moco:MoCo",
        views=2,
        settings=("temperature", *_HEAD, "queue", "momentum_encoder"),
        relative_cost=0.9,
        preset=presets.moco,
    ),
    "byol": MethodInfo(
        title="BYOL",
        target="byol:BYOL",
        views=2,
        settings=(*_HEAD, "predictor_dim", "momentum_encoder"),
        relative_cost=1.4,
        preset=presets.byol,
    ),
    "jigsaw": MethodInfo(title="jigsaw", target="jigsaw:Jigsaw", relative_cost=1.2, preset=presets.jigsaw),
    "inpainting": MethodInfo(
        title="inpainting", target="inpainting:Inpainting", relative_cost=2.0, preset=presets.inpainting
    ),
    "weights": MethodInfo(title="weights"),
}
"""The built-in methods, in the order of figures."""
UNTRAINED = frozenset(name for name, method in METHODS.items() if not method.target)
"""Methods whose encoder needs no training: it is random, or its weights are given."""
LABELLED_METHODS = frozenset(name for name, method in METHODS.items() if method.labelled)
"""Methods that learn from labels."""
TWO_VIEWS = frozenset(name for name, method in METHODS.items() if method.views == 2)
"""Methods that compare two views of an image; the others take one."""
USED_BY: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        setting: frozenset(name for name, method in METHODS.items() if setting in method.settings)
        for setting in dict.fromkeys(s for method in METHODS.values() for s in method.settings)
    }
)
"""Settings that only some built-in methods read, and those methods."""


def trained_methods() -> tuple[str, ...]:
    """The built-in methods that ``pretrain`` takes; the others need no training."""
    return tuple(name for name in METHODS if name not in UNTRAINED)


def looks_at(method: str, setting: str) -> bool:
    """Whether a setting can change what a method learns. An added method may read any setting."""
    return method not in METHODS or method in USED_BY.get(setting, METHODS)


def patch_side(size: int) -> int:
    """The side in pixels of a ViT's patches of an image of ``size`` pixels."""
    return PATCH_SIDES[size > SMALL_IMAGE]


@dataclass(frozen=True, kw_only=True)
class EncoderInfo:
    """An encoder."""

    target: str
    """``module:Class`` in ``ssl_core.encoders``."""
    layers: tuple[str, ...]
    """Its blocks whose pooled output can be evaluated, from input to output."""
    feature_dim: int
    """Width of its features."""
    parameters: float
    """Millions of parameters."""
    small: float
    """Billions of multiply-adds of one forward pass with the small-image stem at 32 px."""
    large: float
    """Billions of multiply-adds of one forward pass with the ImageNet stem at 224 px."""
    patches: bool = False
    """Whether it cuts images into patches, which must divide their side."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the class."""

    def patch(self, size: int) -> int:
        """The side in pixels of its patches of an image of ``size`` pixels; 1 if it takes any image."""
        return patch_side(size) if self.patches else 1

    def multiply_adds(self, size: int) -> float:
        """Billions of multiply-adds of one forward pass of an image of ``size`` pixels."""
        return self.small * (size / 32) ** 2 if size <= SMALL_IMAGE else self.large * (size / 224) ** 2


def _resnet(*depths: int, bottleneck: bool = False, width: int = 1, **size: Any) -> EncoderInfo:
    return EncoderInfo(
        target="resnets:StandardResNet",
        layers=tuple(f"layer{i}" for i in range(1, 5)),
        options={"depths": depths, "bottleneck": bottleneck, "width": width},
        feature_dim=512 * width * (4 if bottleneck else 1),
        **size,
    )


def _vit(feature_dim: int, heads: int, **size: Any) -> EncoderInfo:
    return EncoderInfo(
        target="vits:StandardViT",
        layers=tuple(f"encoder.layers.encoder_layer_{i}" for i in range(12)),
        options={"feature_dim": feature_dim, "heads": heads},
        patches=True,
        feature_dim=feature_dim,
        **size,
    )


ENCODERS: Mapping[str, EncoderInfo] = {
    "resnet-demo": EncoderInfo(
        target="resnets:DemoResNet",
        layers=tuple(f"blocks.{i}" for i in range(4)),
        feature_dim=128,
        parameters=0.31,
        small=0.0033,
        large=0.16,
    ),
    "resnet18": _resnet(2, 2, 2, 2, parameters=11.2, small=0.56, large=1.8),
    "resnet34": _resnet(3, 4, 6, 3, parameters=21.3, small=1.16, large=3.7),
    "resnet50": _resnet(3, 4, 6, 3, bottleneck=True, parameters=23.5, small=1.30, large=4.1),
    "resnet50-2x": _resnet(3, 4, 6, 3, bottleneck=True, width=2, parameters=93.9, small=5.1, large=16.0),
    "resnet50-4x": _resnet(3, 4, 6, 3, bottleneck=True, width=4, parameters=375.0, small=20.4, large=64.0),
    "vit-s": _vit(384, heads=6, parameters=21.7, small=1.4, large=4.6),
    "vit-b": _vit(768, heads=12, parameters=85.8, small=5.6, large=17.6),
}
