"""Overrides from the command line: `pretrain.epochs=5`.

A step into a list without a number reaches every entry: `pretrain.epochs=5` sets all blocks,
`pretrain.0.epochs=5` the first. Blocks of random encoders only are passed over for what they do not take.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ssl_sweep.sweep.errors import Located, did_you_mean, masked
from ssl_sweep.sweep.grid.marked_yaml import KeyPath, YamlSource, parse_value
from ssl_sweep.sweep.grid.schema import PretrainBlock

NOT_FOR_RANDOM = frozenset(PretrainBlock.model_fields) - {"method", "encoder", "seed", "weights"}
"""Keys of a pretrain block that an encoder nobody trains has no use for."""

_SHAPE = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*=.*", re.DOTALL)


def apply_overrides(source: YamlSource, overrides: Iterable[str]) -> tuple[YamlSource, list[Located]]:
    """`source` with each `path=value` set in turn, and the problems of those that cannot be."""
    problems: list[Located] = []
    for text in overrides:
        name = f"override {masked(text)}"
        try:
            steps, value = _parse(text)
            for path in _targets(source.data, steps, ()):
                source = source.with_value(path, value, name)
        except ValueError as error:
            problems.append(Located(name, 0, 0, str(error)))
    return source, problems


def _parse(text: str) -> tuple[list[str], Any]:
    if not _SHAPE.fullmatch(text):
        raise ValueError("not of the form key.path=value")
    path, _, value = text.partition("=")
    return path.split("."), parse_value(value)


def _targets(data: Any, steps: list[str], path: KeyPath) -> list[KeyPath]:
    """The paths that `steps` reach from `path`, where `data` stands. A missing last key is made; so is a
    missing section of the top level. The grid's model refuses those it does not know."""
    if not steps:
        return [path]
    step, rest = steps[0], steps[1:]
    where = ".".join(map(str, path))
    if isinstance(data, list):
        if step.isdigit():
            if int(step) >= len(data):
                raise ValueError(f"{where} has {len(data)} entries, counted from 0")
            return _targets(data[int(step)], rest, (*path, int(step)))
        chosen = [i for i, item in enumerate(data) if not _passes_over(item, step)]
        return [found for i in chosen for found in _targets(data[i], steps, (*path, i))]
    if isinstance(data, dict):
        if step not in data and rest and path:
            raise ValueError(f"no {step!r} in {where}{did_you_mean(step, data)}")
        return _targets(data.get(step, {} if rest else None), rest, (*path, step))
    raise ValueError(f"{where} is {data!r}, which has no {step!r} inside")


def _passes_over(block: Any, key: str) -> bool:
    if not isinstance(block, dict) or key not in NOT_FOR_RANDOM or key in block:
        return False
    methods = block.get("method")
    return set(methods if isinstance(methods, list) else [methods]) <= {"random", "weights"}
