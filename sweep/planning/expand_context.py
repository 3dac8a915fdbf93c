"""What all parts of one expansion share: the grid, its datasets, the problems found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ssl_sweep.data_ops.dataset.corruptions import parse_corruption
from ssl_sweep.data_ops.dataset.subsets import Draw
from ssl_sweep.sweep.errors import Located
from ssl_sweep.sweep.grid.load import Entry, Grid
from ssl_sweep.sweep.grid.marked_yaml import KeyPath
from ssl_sweep.sweep.planning.datasets import DatasetInfo
from ssl_sweep.sweep.planning.identities import Identities


@dataclass
class Expansion:
    """One expansion of a grid over the datasets of ``catalog``."""

    grid: Grid
    catalog: Mapping[str, DatasetInfo]
    problems: list[Located] = field(default_factory=list)

    def __post_init__(self) -> None:
        contents = ((info.fingerprint, info.draws) for info in self.catalog.values())
        self.identities = Identities({fingerprint: draws for fingerprint, draws in contents if draws})

    def problem(self, path: KeyPath, message: str) -> None:
        """Add a problem of the value at ``path``."""
        self.problems.append(self.grid.source.problem(path, message))

    def path(self, entry: Entry[Any], key: str, i: int) -> KeyPath:
        """The place of value ``i`` of an axis."""
        return self.grid.source.axis_path(entry.path, key, i)

    def survives(self, corruption: str, size: int, entry: Entry[Any]) -> bool:
        """Whether a corruption leaves anything of images of ``size`` pixels; adds a problem if not."""
        problem = _problem_at(corruption, size)
        if problem:
            self.problem((*entry.path, "corruption"), problem)
        return not problem


@lru_cache(maxsize=1024)
def _problem_at(corruption: str, size: int) -> str:
    return parse_corruption(corruption).problem_at(size)


def one_draw(n: int, available: int, draw: Draw, imbalance: float, seed: int) -> tuple[Draw, int]:
    """The draw and seed of ``n`` of ``available`` images, the same for draws that give the same images.

    A long tail decides the classes for every draw. All images are one draw, whatever its seed and kind.
    """
    if imbalance > 1:
        return "uniform", seed
    return ("uniform", 0) if n == available else (draw, seed)
