"""Training methods of other distributions: known by their entry points, imported only to train."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from types import MappingProxyType

from ssl_sweep.ssl_core.config.registry import METHODS

GROUP = "ssl_sweep.methods"
"""Entry-point group: the name that a grid uses, and ``module:Class`` of an ``ssl_core.methods.Method``."""


@dataclass(frozen=True)
class AddedMethod:
    """A method that another distribution adds."""

    name: str
    target: str
    """``module:Class``."""
    version: str
    """The distribution and its version, such as ``lab-methods 1.2``."""


@dataclass(frozen=True)
class Added:
    """The methods that other distributions add here."""

    methods: Mapping[str, AddedMethod]
    """The usable ones, by name."""
    refused: Mapping[str, str]
    """Why the others are left out, one sentence each, by name."""


@lru_cache(maxsize=1)
def added() -> Added:
    """What is installed here.

    A built-in name cannot be taken over. A name that two distributions use is refused: which one trains must
    not depend on the order of ``sys.path``.
    """
    found: dict[str, list[AddedMethod]] = {}
    for point in entry_points(group=GROUP):
        dist = point.dist
        name = re.sub(r"[-_.]+", "-", dist.name).lower() if dist else "unknown"
        version = f"{name} {dist.version}" if dist else name
        found.setdefault(point.name, []).append(AddedMethod(point.name, point.value, version))
    methods, refused = {}, {}
    for name, offers in sorted(found.items()):
        of = " and ".join(sorted(offer.version for offer in offers))
        if name in METHODS:
            refused[name] = f"method {name!r} of {of} is left out: the name is built in"
        elif len(offers) > 1:
            refused[name] = f"method {name!r} comes from {of}; uninstall all but one"
        else:
            methods[name] = offers[0]
    return Added(MappingProxyType(methods), MappingProxyType(refused))


def method_names() -> tuple[str, ...]:
    """Every method that a grid can name: built-in ones, then added ones."""
    return (*METHODS, *added().methods)


def added_method(name: str) -> AddedMethod:
    """The added method of this name.

    Raises:
        ValueError: No distribution adds it, or more than one does.
    """
    found = added()
    if name not in found.methods:
        raise ValueError(
            found.refused.get(name) or f"method is {name!r}; use one of {', '.join(method_names())}"
        )
    return found.methods[name]
