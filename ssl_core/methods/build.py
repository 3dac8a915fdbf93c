"""Training methods by name, built in or added by another distribution."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from ssl_sweep.ssl_core.config.plugins import added, load, require_planned
from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.config.registry import trained_methods
from ssl_sweep.ssl_core.methods.base import Method


def method_class(name: str) -> type[Method]:
    """The class of a method.

    Raises:
        ValueError: The method needs no training, is unknown here, or cannot be loaded.
    """
    trained = (*trained_methods(), *added("method").found)
    if name not in trained:
        known = ", ".join(trained)
        raise ValueError(f"method {name!r} is not trained, or not installed here; pretrain() takes {known}")
    found: type[Method] = load("method", name, Method)
    return found


def build_method(config: PretrainConfig, n_classes: int = 0, n_images: int = 0) -> Method:
    """The method of ``config`` with random weights from torch's global generator; call it under
    ``torch_seed``.

    Args:
        config: The pretraining.
        n_classes: Number of classes, for methods that learn from labels.
        n_images: Size of the training set, which bounds MoCo's queue; 0 leaves it unbounded.

    Raises:
        ValueError: The method is not trained, or another version of it or of its encoder was planned.
    """
    build = cast(Callable[[PretrainConfig, int, int], Method], method_class(config.method))
    require_planned("method", config.method, config.method_version)
    require_planned("encoder", config.encoder, config.encoder_version)
    return build(config, n_classes, n_images)
