"""Identity of a stage: the same question has the same id on every machine.

The id is the first 10 hex digits of the SHA-256 of ``<stage>/<version>/<spec as canonical JSON>``. Fields of
a spec that hold their default are omitted, so a field added later with a neutral default changes no id.
Neither does the order of keys, nor the name of a class of Python. Fields that only say how to find images and
labels are omitted too: their digests, and the ids of upstream stages, are fields of the specs.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache, lru_cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from ssl_sweep.data_ops.sources.registry import SOURCES, Source
from ssl_sweep.ssl_core.config.probe import FeatureSettings
from ssl_sweep.sweep.spec.specs import VERSIONS, Spec, Stage

ID_LENGTH = 10
KIND = "kind"
"""Key of a dataclass's tag, which distinguishes the classes that one field may hold."""
_FIRST_SOURCES = (
    "Synthetic Digits Parquet Folder Csv Npz WebDataset Torchvision TinyImageNet ImageNet INat21 Places365"
    " GeoLifeClef"
)
_TAGS = {name.replace("-", "").lower(): f"{name}Source" for name in _FIRST_SOURCES.split()}
"""The tags of the first sources, which are in ids that users have. A later source has its name in a grid."""

Made = TypeVar("Made")


@lru_cache(maxsize=256)
def _tag(kind: Any) -> str:
    """The tag of a dataclass; "" if no field can hold another class in its place."""
    if issubclass(kind, Source):
        names = {source: name for name, source in SOURCES.items()}
        name = next((names[base] for base in kind.__mro__ if base in names), kind.__name__)
        return _TAGS.get(name.replace("-", ""), name)
    return str(getattr(kind, "TAG", ""))


@lru_cache(maxsize=256)
def _fields(kind: Any) -> tuple[tuple[str, Any, bool], ...]:
    """The name of each field, its default or MISSING, and whether it is part of identities."""

    def default(field: Field[Any]) -> Any:
        return field.default_factory() if field.default_factory is not MISSING else field.default

    return tuple((f.name, default(f), f.metadata.get("identity", True)) for f in fields(kind))


class _NoText(Exception):
    """A value has no stable text. ``path`` is built only while the error propagates: success costs
    nothing."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason, self.path = reason, ""


_AS_THEY_ARE = frozenset({str, int, bool, type(None)})
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_forms: dict[tuple[int, bool], tuple[object, dict[str, Any]]] = {}
"""The JSON values of the last frozen dataclasses, by ``id`` and ``drop_defaults``. Thousands of specs share a
few configs. Each entry holds its dataclass, so no other object can get its ``id``."""
_MOST_FORMS = 4096


def _json_value(value: Any, drop_defaults: bool) -> Any:
    """The JSON value of a scalar, list, mapping or dataclass; raises _NoText for anything else."""
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind is float:
        if not math.isfinite(value):
            raise _NoText(f"is {value}: only finite numbers have an identity")
        return value
    if kind in (tuple, list):
        return [
            item if type(item) in _AS_THEY_ARE else _inside(item, drop_defaults, f"[{i}]")
            for i, item in enumerate(value)
        ]
    if is_dataclass(kind):
        found: dict[str, Any] = {KIND: tag} if (tag := _tag(kind)) else {}
        for name, default, identifies in _fields(kind):
            if drop_defaults and not identifies:
                continue
            item = getattr(value, name)
            # Python calls 1, True and 1.0 equal; their canonical texts differ
            if drop_defaults and type(item) is type(default) and item == default:
                continue
            found[name] = item if type(item) in _AS_THEY_ARE else _inside(item, drop_defaults, f".{name}")
        return found
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise _NoText("has a key that is not text")
        return {key: _inside(item, drop_defaults, f".{key}") for key, item in value.items()}
    raise _NoText(f"is a {kind.__name__}: it has no stable text, so it cannot be part of an identity")


def _inside(value: Any, drop_defaults: bool, step: str) -> Any:
    key = (id(value), drop_defaults)
    if (known := _forms.get(key)) is not None:
        return known[1]
    try:
        form = _json_value(value, drop_defaults)
    except _NoText as error:
        error.path = step + error.path
        raise
    params = getattr(type(value), "__dataclass_params__", None)
    if params is not None and params.frozen:
        if len(_forms) >= _MOST_FORMS:
            _forms.clear()
        _forms[key] = (value, form)
    return form


def _form(value: object, *, drop_defaults: bool) -> Any:
    """``_json_value``, or a ValueError that names the part of ``value`` without a stable text."""
    try:
        return _json_value(value, drop_defaults)
    except _NoText as error:
        raise ValueError(f"{type(value).__name__}{error.path} {error.reason}") from None


def full_form(spec: object) -> dict[str, Any]:
    """Every field of ``spec`` as JSON values, as the store keeps it."""
    form: dict[str, Any] = _form(spec, drop_defaults=False)
    return form


def canonical_json(value: object) -> str:
    """``value`` as ASCII JSON with sorted keys and no spaces, without fields that hold their default.

    Raises:
        ValueError: a part has no stable text, for example NaN or a callable.
    """
    plain = _form(value, drop_defaults=True)
    return _CANONICAL.encode(plain)


def short_hash(text: str) -> str:
    """The first 10 hex digits of the SHA-256 of ``text``."""
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]


def stage_id(stage: Stage, spec: Spec, version: int | None = None) -> str:
    """Id of a stage, 10 hex digits. ``version`` replaces the current one, to compute an older id."""
    version = VERSIONS[stage] if version is None else version
    return short_hash(f"{stage}/{version}/{canonical_json(spec)}")


def from_form(kind: type[Made], form: Mapping[str, Any]) -> Made:
    """The dataclass that ``full_form`` made ``form`` of. Fields that it lacks have their defaults, and fields
    that ``kind`` no longer has are left out.

    Raises:
        ValueError: the form is not one of ``kind``.
    """
    made: Any = kind
    hints = _hints(made)
    try:
        values = {name: _typed(hints[name], form[name]) for name, _, _ in _fields(made) if name in form}
        return kind(**values)
    except (TypeError, KeyError, AttributeError, StopIteration) as error:
        raise ValueError(f"it is not a {kind.__name__}: {error}") from error


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _typed(hint: Any, value: Any) -> Any:
    """``value``, as JSON has it, as the type of a field."""
    if isinstance(value, Mapping):
        union = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        choices: list[Any] = [c for c in union if is_dataclass(c)]
        if hint in (Source, FeatureSettings):
            choices = list(SOURCES.values()) if hint is Source else FeatureSettings.__subclasses__()
        return from_form(next(c for c in choices if len(choices) == 1 or _tag(c) == value[KIND]), value)
    if isinstance(value, list):
        inner = next((arg for arg in get_args(hint) if arg is not type(None)), Any)
        if get_origin(hint) in (Union, UnionType):  # X | None
            return _typed(inner, value)
        return tuple(_typed(inner, item) for item in value)
    return value


def spec_difference(stored: Mapping[str, Any], spec: object) -> list[str]:
    """The differences between a stored full spec and the requested one, a line for each field that is part of
    the identity.

    A field that the stored spec lacks counts as equal if the requested one holds its default: it did not
    exist when the spec was stored.
    """
    asked = full_form(spec)
    if stored == asked:
        return []
    kind: Any = type(spec)
    elsewhere = {name for name, _, identifies in _fields(kind) if not identifies}
    lean = _form(spec, drop_defaults=True)
    kept, wanted = (
        {name: value for name, value in form.items() if name not in elsewhere} for form in (stored, asked)
    )
    return _difference(kept, wanted, lean, "")


def _difference(stored: Any, asked: Any, lean: Any, where: str) -> list[str]:
    if isinstance(stored, Mapping) and isinstance(asked, Mapping):
        lines: list[str] = []
        for key in sorted({*stored, *asked}):
            path = f"{where}.{key}" if where else key
            in_lean = isinstance(lean, Mapping) and key in lean
            if key not in asked:
                lines.append(f"{path}: stored {stored[key]!r}, no longer a field")
            elif key not in stored:
                if in_lean:
                    lines.append(f"{path}: not stored, asked {asked[key]!r}")
            else:
                lines += _difference(stored[key], asked[key], lean[key] if in_lean else None, path)
        return lines
    if isinstance(stored, list) and isinstance(asked, list) and len(stored) == len(asked):
        items = lean if isinstance(lean, list) else [None] * len(asked)
        return [
            line
            for i, (old, new, part) in enumerate(zip(stored, asked, items, strict=True))
            for line in _difference(old, new, part, f"{where}[{i}]")
        ]
    return [] if stored == asked else [f"{where}: stored {stored!r}, asked {asked!r}"]
