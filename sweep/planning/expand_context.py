"""What all parts of one expansion share: the grid, its datasets, the problems met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ssl_sweep.data_ops.dataset.corruptions import parse_corruption
from ssl_sweep.data_ops.dataset.subsets import Draw
from ssl_sweep.sweep.errors import Located
from ssl_sweep.sweep.grid.load import Entry, Grid
from ssl_sweep.sweep.grid.marked_yaml import Path_
from ssl_sweep.sweep.planning.datasets import DatasetInfo


@dataclass
class Expansion:
    """One expansion of a grid over the datasets of `catalog`."""

    grid: Grid
    catalog: Mapping[str, DatasetInfo]
    problems: list[Located] = field(default_factory=list)

    def problem(self, path: Path_, message: str) -> None:
        self.problems.append(self.grid.source.problem(path, message))

    def path(self, entry: Entry[Any], key: str, i: int) -> Path_:
        """Where value `i` of an axis stands."""
        path = (*entry.path, key, i)
        return path if path in self.grid.source.marks else path[:-1]

    def survives(self, corruption: str, size: int, entry: Entry[Any]) -> bool:
        """Whether anything is left of images of this size."""
        problem = parse_corruption(corruption).problem_at(size)
        if problem:
            self.problem((*entry.path, "corruption"), problem)
        return not problem


def one_draw(n: int, available: int, draw: Draw, imbalance: float, seed: int) -> tuple[Draw, int]:
    """Draw and seed of n images in one spelling: a tail decides the classes with any draw, and all images are
    one draw, whatever its seed and kind."""
    if imbalance > 1:
        return "uniform", seed
    return ("uniform", 0) if n == available else (draw, seed)
