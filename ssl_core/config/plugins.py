"""Methods and encoders of other distributions, beside the built-in ones.

They are known by their entry points. Planning imports none of them; a training imports the one it needs.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import PathFinder
from types import MappingProxyType
from typing import Any, Literal

from ssl_sweep.ssl_core.config.registry import ENCODERS, METHODS, EncoderInfo

Kind = Literal["method", "encoder"]
_BUILT_IN: Mapping[Kind, Mapping[str, Any]] = {"method": METHODS, "encoder": ENCODERS}
_PACKAGE = "ssl_sweep.ssl_core"
"""The package that has the packages ``methods`` and ``encoders``."""


@dataclass(frozen=True)
class AddedClass:
    """A method or an encoder that another distribution adds."""

    name: str
    target: str
    """``module:Class``."""
    version: str
    """The distribution and its version, such as ``lab-methods 1.2``."""


@dataclass(frozen=True)
class Added:
    """The methods or encoders that other distributions add here."""

    found: Mapping[str, AddedClass]
    """The usable ones, by name."""
    refused: Mapping[str, str]
    """Why the others are left out, one sentence each, by name."""


@lru_cache(maxsize=2)
def added(kind: Kind) -> Added:
    """What is installed here: the entry points of the group ``ssl_sweep.methods`` or ``ssl_sweep.encoders``.

    A built-in name cannot be taken over. A name that two distributions use is refused: which one is used must
    not depend on the order of ``sys.path``.
    """
    from importlib.metadata import entry_points  # slow, and rarely needed

    offered: dict[str, list[AddedClass]] = {}
    for point in entry_points(group=f"ssl_sweep.{kind}s"):
        dist = point.dist
        name = re.sub(r"[-_.]+", "-", dist.name).lower() if dist else "unknown"
        version = f"{name} {dist.version}" if dist else name
        offered.setdefault(point.name, []).append(AddedClass(point.name, point.value, version))
    found, refused = {}, {}
    for name, offers in sorted(offered.items()):
        of = " and ".join(sorted(offer.version for offer in offers))
        if name in _BUILT_IN[kind]:
            refused[name] = f"{kind} {name!r} of {of} is left out: the name is built in"
        elif len(offers) > 1:
            refused[name] = f"{kind} {name!r} comes from {of}; uninstall all but one"
        else:
            found[name] = offers[0]
    return Added(MappingProxyType(found), MappingProxyType(refused))


def names(kind: Kind) -> tuple[str, ...]:
    """Every method or encoder that a grid can name: built-in ones, then added ones."""
    return (*_BUILT_IN[kind], *added(kind).found)


def added_class(kind: Kind, name: str) -> AddedClass:
    """The added method or encoder of this name.

    Raises:
        ValueError: No distribution adds it, or more than one does.
    """
    here = added(kind)
    if name not in here.found:
        raise ValueError(here.refused.get(name) or f"{kind} is {name!r}; use one of {', '.join(names(kind))}")
    return here.found[name]


def version_of(kind: Kind, name: str) -> str:
    """The distribution and version of an added method or encoder, "" for a built-in one.

    Raises:
        ValueError: No distribution adds it, or more than one does.
    """
    return "" if name in _BUILT_IN[kind] else added_class(kind, name).version


def require_planned(kind: Kind, name: str, planned: str) -> None:
    """Check that this machine has the version of a method or an encoder that was planned.

    Raises:
        ValueError: It has another version, or none.
    """
    if planned and (here := added_class(kind, name).version) != planned:
        raise ValueError(
            f"{kind} {name!r} was planned as {planned}, and here it is {here}; install the same on every node"
        )


def load(kind: Kind, name: str, base: type) -> Any:
    """Import a method or an encoder, a subclass of ``base`` if another distribution adds it.

    Raises:
        ValueError: It is unknown here, or cannot be loaded.
    """
    built_in = _BUILT_IN[kind].get(name)
    if built_in is not None:
        return _import(f"{_PACKAGE}.{kind}s.{built_in.target}")
    new = added_class(kind, name)
    try:
        found = _import(new.target)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{kind} {name!r} of {new.version} cannot be loaded: {error}") from error
    if not (isinstance(found, type) and issubclass(found, base)):
        owner = base.__module__.removesuffix(".base")
        raise ValueError(
            f"{kind} {name!r} of {new.version}: {new.target} is not a subclass of {owner}.{base.__name__}"
        )
    return found


def _import(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def encoder_info(name: str) -> EncoderInfo:
    """What planning needs of an encoder.

    The layers and the width of an added encoder are the attributes ``layers`` and ``feature_dim`` of its
    class, if these are plain values there. Nothing is imported. Without a width, and in its cost, it counts
    as a ResNet-50; so does an encoder that is not installed here.
    """
    if (built_in := ENCODERS.get(name)) is not None:
        return built_in
    usual, new = ENCODERS["resnet50"], added("encoder").found.get(name)
    values = _class_values(new.target) if new is not None else {}
    layers, width = values.get("layers", ()), values.get("feature_dim")
    return EncoderInfo(
        target=new.target if new is not None else "",
        layers=tuple(map(str, layers)) if isinstance(layers, tuple | list) else (),
        feature_dim=width if isinstance(width, int) else usual.feature_dim,
        parameters=usual.parameters,
        small=usual.small,
        large=usual.large,
    )


@lru_cache(maxsize=64)
def _class_values(target: str) -> Mapping[str, Any]:
    """The attributes of a class that its source gives as plain values; empty without a source."""
    module, _, wanted = target.partition(":")
    try:
        tree = ast.parse(_source(module) or "")
    except (ImportError, OSError, SyntaxError, ValueError):
        return {}
    found = {}
    for node in tree.body:
        for line in node.body if isinstance(node, ast.ClassDef) and node.name == wanted else ():
            targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
            value = getattr(line, "value", None)
            if len(targets) == 1 and isinstance(targets[0], ast.Name) and value is not None:
                try:
                    found[targets[0].id] = ast.literal_eval(value)
                except ValueError:
                    continue  # it is computed
    return found


def _source(module: str) -> str | None:
    """The source of a module. Neither it nor its packages are imported."""
    top, *below = module.split(".")
    spec = importlib.util.find_spec(top)
    for part in below:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(f"{spec.name}.{part}", spec.submodule_search_locations)
    source: Any = getattr(spec.loader, "get_source", None) if spec is not None else None
    return source(module) if source is not None else None
