"""Identity of a stage: the same question has the same id on every machine.

The id is the first 10 hex digits of the SHA-256 of ``<stage>/<version>/<spec as canonical JSON>``. Fields of
a spec that hold their default are omitted, so a field added later with a neutral default changes no id.
Neither does the order of keys. The ids of upstream stages and the fingerprints of data are fields of the
specs.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import lru_cache
from typing import Any

from ssl_sweep.sweep.spec.specs import VERSIONS, Spec, Stage

ID_LENGTH = 10
KIND = "kind"
"""Key of a dataclass's name in the canonical form. It distinguishes two classes with equal fields."""


@lru_cache(maxsize=256)
def _fields(kind: type) -> tuple[tuple[str, Any], ...]:
    """The name and the default, or MISSING, of each field of a dataclass."""

    def default(field: Field[Any]) -> Any:
        return field.default_factory() if field.default_factory is not MISSING else field.default

    return tuple((field.name, default(field)) for field in fields(kind))


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
        found: dict[str, Any] = {KIND: kind.__name__}
        for name, default in _fields(kind):
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


def spec_difference(stored: Mapping[str, Any], spec: object) -> list[str]:
    """The differences between a stored full spec and the requested one, a line for each field.

    A field that the stored spec lacks counts as equal if the requested one holds its default: it did not
    exist when the spec was stored.
    """
    asked = full_form(spec)
    if stored == asked:
        return []
    lean = _form(spec, drop_defaults=True)
    return _difference(stored, asked, lean, "")


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
