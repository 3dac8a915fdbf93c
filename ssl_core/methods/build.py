"""Training methods by name, built in or added by another distribution."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import cast

from ssl_sweep.ssl_core.config.plugins import added, added_method
from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.config.registry import METHODS, trained_methods
from ssl_sweep.ssl_core.methods.base import Method


def method_class(name: str) -> type[Method]:
    """The class of a method.

    Raises:
        ValueError: The method needs no training, is unknown here, or cannot be loaded.
    """
    if name not in trained_methods():
        return _added_class(name)
    module, _, kind = METHODS[name].target.partition(":")
    found: type[Method] = getattr(importlib.import_module(f"{__package__}.{module}"), kind)
    return found


def _added_class(name: str) -> type[Method]:
    if name not in added().methods:
        known = ", ".join((*trained_methods(), *added().methods))
        raise ValueError(f"method {name!r} is not trained, or not installed here; pretrain() takes {known}")
    method = added_method(name)
    module, _, kind = method.target.partition(":")
    try:
        found = getattr(importlib.import_module(module), kind)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"method {name!r} of {method.version} cannot be loaded: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise ValueError(
            f"method {name!r} of {method.version}: {method.target} is not a subclass of "
            "ssl_sweep.ssl_core.methods.Method"
        )
    return found


def build_method(config: PretrainConfig, n_classes: int = 0, n_images: int = 0) -> Method:
    """The method of ``config`` with random weights from torch's global generator; call it under
    ``torch_seed``.

    Args:
        config: The pretraining.
        n_classes: Number of classes, for methods that learn from labels.
        n_images: Size of the training set, which bounds MoCo's queue; 0 leaves it unbounded.

    Raises:
        ValueError: The method is not trained, or another version of it was planned.
    """
    build = cast(Callable[[PretrainConfig, int, int], Method], method_class(config.method))
    if config.method_version and (here := added_method(config.method).version) != config.method_version:
        raise ValueError(
            f"method {config.method!r} was planned as {config.method_version}, and here it is {here};"
            " install the same on every node"
        )
    return build(config, n_classes, n_images)
