"""Checks one entry of a grid file against its model, and turns every pydantic error into a located
message."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import ValidationError

from ssl_sweep.sweep.errors import Located, did_you_mean
from ssl_sweep.sweep.grid.axes import Model
from ssl_sweep.sweep.grid.marked_yaml import KeyPath, YamlSource
from ssl_sweep.sweep.grid.numbers import misspelt_numbers

M = TypeVar("M", bound=Model)


def check_entry(
    model: type[M], data: Any, path: KeyPath, source: YamlSource
) -> tuple[M | None, frozenset[str], list[Located]]:
    """Check ``data`` at ``path`` against ``model``.

    Returns:
        The entry, its doubtful keys and the problems. Doubtful keys have a problem already, so later checks
        do not report them again. The entry is built without wrong keys, so that later checks can find other
        problems; it is None if that is impossible.
    """
    if not isinstance(data, dict):
        fields = ", ".join(model.model_fields)
        return None, frozenset(), [source.problem(path, f"should be a mapping; its keys can be {fields}")]
    doubtful, problems = _unknown_keys(model, data, path, source)
    data = {key: value for key, value in data.items() if key in model.model_fields}
    wrong = list(misspelt_numbers(model, data, path))
    problems += [source.problem(at, message) for at, message in wrong]
    unclear = {str(at[len(path)]) for at, _ in wrong}
    doubtful |= unclear
    data = {key: value for key, value in data.items() if key not in unclear}
    try:
        return model.model_validate(data), frozenset(doubtful), problems
    except ValidationError as invalid:
        for error in invalid.errors(include_url=False):
            key = str(error["loc"][0])
            if error["type"] == "missing" and key in doubtful:
                continue  # reported already, as misspelt
            problems.append(_located(error, data, path, source))
            doubtful.add(key)
    try:
        kept = {key: value for key, value in data.items() if key not in doubtful}
        return model.model_validate(kept), frozenset(doubtful), problems
    except ValidationError:
        return None, frozenset(doubtful), problems


def _unknown_keys(
    model: type[Model], data: dict[str, Any], path: KeyPath, source: YamlSource
) -> tuple[set[str], list[Located]]:
    known = list(model.model_fields)
    meant: set[str] = set()
    problems = []
    for key in data:
        if key not in known:
            message = f"unknown key {key!r}{did_you_mean(key, known)}"
            problems.append(source.problem((*path, key), message, key=True))
            meant.update(difflib.get_close_matches(key, known, n=1))
    return meant, problems


def _located(error: Any, data: Any, path: KeyPath, source: YamlSource) -> Located:
    kind, name = error["type"], str(error["loc"][0])
    if kind == "missing":
        where = path_text(path) or "the grid"
        return source.problem(path, f"{where} needs the key {name!r}", key=True)
    at = (*path, *_steps_in(data, error["loc"]))
    if kind == "literal_error":
        options = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        value = str(error["input"])
        return source.problem(at, f"{name}: no {value!r}{did_you_mean(value, options)}")
    message = error["msg"].removeprefix("Value error, ")
    message = message.replace("Input should", "should").replace("String should", "should")
    message = message.replace("valid tuple", "list")
    if kind != "value_error":
        message += f", not {error['input']!r}"
    return source.problem(at, f"{name}: {message}")


def _steps_in(data: Any, loc: Iterable[str | int]) -> KeyPath:
    """pydantic's location without the steps that the file does not have: the index of a single value that
    stands for a list, and the names of union members."""
    path: list[str | int] = []
    for step in loc:
        if isinstance(data, dict) and step in data:
            data = data[str(step)]
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        else:
            continue
        path.append(step)
    return tuple(path)


def path_text(path: KeyPath) -> str:
    """The path as an override writes it: ``pretrain.0.images``."""
    return ".".join(map(str, path))
