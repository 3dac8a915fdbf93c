"""Numbers as a grid writes them: a number that has two readings, or is not written as one, is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

from ssl_sweep.sweep.grid.axes import Model
from ssl_sweep.sweep.grid.marked_yaml import KeyPath

_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?")
_LONG = 40  # characters: more than any number that a key takes
_THOUSANDS = re.compile(r"[-+]?[1-9][0-9]{0,2}(\.[0-9]{3})+")


def two_readings(text: str) -> str:
    """What is unclear about a whole number such as 10.000, which is ten in one country and ten thousand in
    another; empty if nothing is."""
    if not _THOUSANDS.fullmatch(text):
        return ""
    few, many = text.partition(".")[0], text.replace(".", "")
    return f"{text} can be read as {few} or as {many}; write {few} or {many}"


def misspelt_numbers(
    model: type[Model], data: dict[str, Any], path: KeyPath
) -> Iterator[tuple[KeyPath, str]]:
    """The place of each number of an entry that is not written as one number, and what is wrong with it."""
    for key, value in data.items():
        field = model.model_fields.get(key)
        if field is None:
            continue
        kinds = _kinds(field.annotation)
        inner = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Model)), None)
        if inner is not None and isinstance(value, dict):
            yield from misspelt_numbers(inner, value, (*path, key))
        elif kinds <= {int, float, type(None)}:
            for at, item in _items(value, (*path, key)):
                if wrong := _problem(item, whole=float not in kinds):
                    yield at, f"{key}: {wrong}"


def _items(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, list | tuple):
        yield from (((*path, i), item) for i, item in enumerate(value))
    else:
        yield path, value


def _problem(item: Any, *, whole: bool) -> str:
    if isinstance(item, bool):
        return f"{str(item).lower()} is not a number"
    if isinstance(item, str) and len(item) < _LONG and _NUMBER.fullmatch(item):
        return f"{item!r} is text; write {item} without quotes"
    return two_readings(str(item)) if whole else ""


def _kinds(annotation: Any) -> frozenset[Any]:
    """The types of the single values of an annotation."""
    if annotation is Ellipsis:
        return frozenset()
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    inside = get_args(annotation)
    return frozenset[Any]().union(*map(_kinds, inside)) if inside else frozenset([annotation])
