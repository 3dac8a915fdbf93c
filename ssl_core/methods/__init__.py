"""Training methods by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import cast

from ssl_sweep.ssl_core.config.plugins import added, added_method
from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.methods.base import Method, StepOutput

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
    """The built-in methods that `pretrain` takes; the others need no training."""
    return tuple(_CLASSES)


def method_class(name: str) -> type[Method]:
    """The class of a method, built in or added. ValueError for one that is not trained or not loadable."""
    if name not in _CLASSES:
        return _added_class(name)
    module, kind = _CLASSES[name]
    found: type[Method] = getattr(importlib.import_module(f"ssl_sweep.ssl_core.methods.{module}"), kind)
    return found


def _added_class(name: str) -> type[Method]:
    if name not in added().methods:
        known = ", ".join((*_CLASSES, *added().methods))
        raise ValueError(f"method {name!r} is not trained, or not installed here; pretrain() takes {known}")
    method = added_method(name)
    module, _, kind = method.target.partition(":")
    try:
        found = getattr(importlib.import_module(module), kind)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"method {name!r} of {method.version} cannot be loaded: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise ValueError(f"method {name!r} of {method.version}: {method.target} is no subclass of Method")
    return found


def build_method(config: PretrainConfig, n_classes: int = 0, n_images: int = 0) -> Method:
    """The method of `config` with random weights from torch's global generator; put it under `torch_seed`.

    `n_classes` is for labelled methods. `n_images`, the size of the training set, bounds a queue; 0 leaves
    it unbounded. ValueError for a method that is not trained, or is another version here than was planned.
    """
    build = cast(Callable[[PretrainConfig, int, int], Method], method_class(config.method))
    if config.method_version and (here := added_method(config.method).version) != config.method_version:
        raise ValueError(
            f"method {config.method!r} was planned as {config.method_version}, and here it is {here};"
            " install the same on every node"
        )
    return build(config, n_classes, n_images)
