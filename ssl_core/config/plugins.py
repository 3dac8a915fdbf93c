"""Training methods of other distributions: known by their entry points, imported only where one trains."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from types import MappingProxyType

GROUP = "ssl_sweep.methods"
"""Entry-point group: the name that a grid uses, and `module:Class` of a `ssl_core.methods.Method`."""


@dataclass(frozen=True)
class AddedMethod:
    """`target` is `module:Class`; `version` the distribution and its version, `lab-methods 1.2`."""

    name: str
    target: str
    version: str


@dataclass(frozen=True)
class Added:
    """`methods` by name, and why those of other names are left out, a sentence each."""

    methods: Mapping[str, AddedMethod]
    refused: Mapping[str, str]


@lru_cache(maxsize=1)
def added() -> Added:
    """What is installed here. A name that is built in stays so, and one that two distributions give is
    nobody's: which of them trains must not depend on the order of a path."""
    from ssl_sweep.ssl_core.config.pretrain import METHODS

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
            refused[name] = f"method {name!r} is of {of}; uninstall all but one"
        else:
            methods[name] = offers[0]
    return Added(MappingProxyType(methods), MappingProxyType(refused))


def method_names() -> tuple[str, ...]:
    """Every method of a grid: those built in, and those added."""
    from ssl_sweep.ssl_core.config.pretrain import METHODS

    return (*METHODS, *added().methods)


def added_method(name: str) -> AddedMethod:
    """An added method; ValueError for a name that nobody gives, or more than one."""
    found = added()
    if name not in found.methods:
        raise ValueError(
            found.refused.get(name) or f"method is {name!r}; use one of {', '.join(method_names())}"
        )
    return found.methods[name]
