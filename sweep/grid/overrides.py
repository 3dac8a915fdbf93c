"""Overrides from the command line: ``pretrain.epochs=5``.

Without an index, a step into a list reaches every entry: ``pretrain.epochs=5`` sets all blocks,
``pretrain.0.epochs=5`` sets the first. Blocks that train nothing are skipped for keys that only trainings
use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ssl_sweep.ssl_core.config.registry import UNTRAINED
from ssl_sweep.sweep.errors import Located, did_you_mean
from ssl_sweep.sweep.grid.marked_yaml import KeyPath, YamlSource, parse_value
from ssl_sweep.sweep.grid.schema import PretrainBlock
from ssl_sweep.sweep.util.addresses import masked

NOT_FOR_RANDOM = frozenset(PretrainBlock.model_fields) - {"method", "encoder", "seed", "weights"}
"""Keys of a pretrain block that an untrained encoder does not use."""

_SHAPE = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*=.*", re.DOTALL)


def apply_overrides(source: YamlSource, overrides: Iterable[str]) -> tuple[YamlSource, list[Located]]:
    """``source`` with each ``path=value`` applied in turn, and the problems of those that cannot be
    applied."""
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
        raise ValueError("is not of the form key.path=value")
    path, _, value = text.partition("=")
    return path.split("."), parse_value(value)


def _targets(data: Any, steps: list[str], path: KeyPath) -> list[KeyPath]:
    """The paths that ``steps`` reach from ``path``, whose value is ``data``.

    A missing last key is created, and so is a missing top-level section. The grid's model refuses unknown
    ones.
    """
    if not steps:
        return [path]
    step, rest = steps[0], steps[1:]
    where = ".".join(map(str, path))
    if isinstance(data, list):
        if step.isdigit():
            if int(step) >= len(data):
                raise ValueError(f"{where} has {len(data)} entries, counted from 0")
            return _targets(data[int(step)], rest, (*path, int(step)))
        chosen = [i for i, item in enumerate(data) if not _skips(item, step)]
        return [found for i in chosen for found in _targets(data[i], steps, (*path, i))]
    if isinstance(data, dict):
        if step not in data and rest and path:
            raise ValueError(f"no {step!r} in {where}{did_you_mean(step, data)}")
        return _targets(data.get(step, {} if rest else None), rest, (*path, step))
    raise ValueError(f"{where} is {data!r}, which has no {step!r} inside")


def _skips(block: Any, key: str) -> bool:
    if not isinstance(block, dict) or key not in NOT_FOR_RANDOM or key in block:
        return False
    methods = block.get("method")
    return set(methods if isinstance(methods, list) else [methods]) <= UNTRAINED
