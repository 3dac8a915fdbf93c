"""Evaluation protocols, one module each: its settings, how it is performed, predicted and described.

A new protocol is a module with a ``PROTOCOL`` and its name in ``_MODULES``. Nothing here imports torch before
a protocol is performed. Every package of ``sweep`` from ``grid`` upwards may import this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ssl_sweep.sweep.protocols.base import EvaluationProtocol

_MODULES = ("linear", "knn", "finetune")
PROTOCOLS: Mapping[str, EvaluationProtocol[Any]] = {
    found.name: found for found in (import_module(f"{__name__}.{name}").PROTOCOL for name in _MODULES)
}
"""The protocols, by the name that a grid uses."""


_OF: Mapping[type[Any], EvaluationProtocol[Any]] = {found.config: found for found in PROTOCOLS.values()}


def protocol_of(config: object) -> EvaluationProtocol[Any]:
    """The protocol that has settings of this class."""
    return _OF[type(config)]


__all__ = ["PROTOCOLS", "base", "protocol_of"]
