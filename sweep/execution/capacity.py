"""What a cluster can grow to: how many nodes of which type, and how many workers they hold. No Ray here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

_ROUNDING = 1e-6


@dataclass(frozen=True)
class NodeType:
    """Nodes with the same resources."""

    name: str
    cpus: float
    """CPUs of one node."""
    gpus: float
    """GPUs of one node."""
    most: int
    """The largest possible number of nodes."""
    scaled: bool = False
    """Whether an autoscaler adds and removes them."""

    def holds(self, cpus: float, gpus: float) -> int:
        """How many workers of that size one node holds."""
        fits = [math.inf]
        if cpus > 0:
            fits.append((self.cpus + _ROUNDING) // cpus)
        if gpus > 0:
            fits.append((self.gpus + _ROUNDING) // gpus)
        return 0 if min(fits) == math.inf else int(min(fits))

    def __str__(self) -> str:
        gpus = f", {self.gpus:g} GPUs" if self.gpus else ""
        return f"{self.name}: {'at most ' if self.scaled else ''}{self.most} x ({self.cpus:g} CPUs{gpus})"


@dataclass(frozen=True)
class Capacity:
    """The node types of a cluster."""

    types: tuple[NodeType, ...]
    most_scaled: int = 0
    """The most nodes that the autoscaler may add, over all types."""

    @classmethod
    def of_nodes(cls, nodes: Iterable[tuple[float, float]]) -> Capacity:
        """The capacity of a cluster without autoscaling, from the (CPUs, GPUs) of each node."""
        counted = Counter(nodes)
        return cls(tuple(NodeType("nodes", *each, most) for each, most in sorted(counted.items())))

    @property
    def cpus(self) -> float:
        """The most CPUs at a time."""
        return self._total([type.cpus for type in self.types])

    @property
    def gpus(self) -> float:
        """The most GPUs at a time."""
        return self._total([type.gpus for type in self.types])

    @property
    def cpus_beside_gpus(self) -> float:
        """The most CPUs at a time on nodes with GPUs."""
        return self._total([type.cpus if type.gpus else 0.0 for type in self.types])

    def workers(self, cpus: float, gpus: float) -> int:
        """The most workers of that size at a time."""
        return int(self._total([float(type.holds(cpus, gpus)) for type in self.types]))

    def _total(self, each: list[float]) -> float:
        """The sum of ``each`` over as many nodes as possible; the autoscaler adds those with the most."""
        found = sum(n * type.most for n, type in zip(each, self.types, strict=True) if not type.scaled)
        left = self.most_scaled
        scaled = [(n, type.most) for n, type in zip(each, self.types, strict=True) if type.scaled]
        for n, most in sorted(scaled, reverse=True):
            taken = min(left, most)
            found, left = found + n * taken, left - taken
        return found

    def __str__(self) -> str:
        limit = f"; {self.most_scaled} of these at a time" if self._limited else ""
        return "; ".join(map(str, self.types)) + limit

    @property
    def _limited(self) -> bool:
        return self.most_scaled < sum(type.most for type in self.types if type.scaled)
