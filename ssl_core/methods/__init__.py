"""Training methods by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import cast

from ssl_core.config import PretrainConfig
from ssl_core.methods.base import Method, StepOutput

__all__ = ["Method", "StepOutput", "build_method", "method_class", "trained_methods"]

# Name in a config -> module here and its class; loaded when asked for.
_CLASSES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "simclr": ("simclr", "SimCLR"),
        "moco-v2": ("moco", "MoCo"),
        "byol": ("byol", "BYOL"),
        "rotation": ("rotation", "Rotation"),
        "jigsaw": ("jigsaw", "Jigsaw"),
        "inpainting": ("inpainting", "Inpainting"),
        "supervised": ("supervised", "Supervised"),
    }
)


def trained_methods() -> tuple[str, ...]:
    """The methods that `pretrain` takes; the others need no training."""
    return tuple(_CLASSES)


def method_class(name: str) -> type[Method]:
    """The class of a method. ValueError for one that is not trained."""
    if name not in _CLASSES:
        raise ValueError(f"method {name!r} is not trained; pretrain() takes {', '.join(_CLASSES)}")
    module, kind = _CLASSES[name]
    found: type[Method] = getattr(importlib.import_module(f"ssl_core.methods.{module}"), kind)
    return found


def build_method(config: PretrainConfig, n_classes: int = 0, n_images: int = 0) -> Method:
    """The method of `config` with random weights from torch's global generator; put it under `torch_seed`.

    `n_classes` is for labelled methods. `n_images`, the size of the training set, bounds a queue; 0 leaves
    it unbounded. ValueError for a method that is not trained.
    """
    build = cast(Callable[[PretrainConfig, int, int], Method], method_class(config.method))
    return build(config, n_classes, n_images)
