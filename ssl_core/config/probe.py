"""How frozen features are evaluated, as data: a linear classifier, or nearest neighbours. No torch here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

from ssl_sweep.ssl_core.config.checks import one_of, positive, require

C_PATHS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "default": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1),
        # Rounded to six digits, so that the numbers, and the ids made of them, are the same on every machine.
        "simclr": tuple(float(f"{10 ** (-6 + k / 4):.6g}") for k in range(45)),
    }
)
"""Values of C to choose from: one per decade, or the 45 from 1e-6 to 1e5 of SimCLR (Chen et al. 2020,
appendix B.8). SimCLR gives that range for the regularisation; here it is for C, its inverse."""
MIN_TEMPERATURE = 0.005
"""Lowest temperature of the neighbours' votes. Similarities differ by up to 2: below this value the smallest
vote would underflow."""


class FeatureSettings:
    """Settings of a protocol that reads frozen features: a frozen dataclass, and a part of identities."""

    TAG: ClassVar[str]
    """Its name in identities and manifests, which never changes."""

    def describe(self) -> str:
        """The kind of classifier, in a few words that follow "a"."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ProbeConfig(FeatureSettings):
    """A linear classifier on frozen features.

    Raises:
        ValueError: A field is out of range; the message names it, its value and what to use.
    """

    TAG: ClassVar[str] = "ProbeConfig"
    protocol: Literal["linear"] = "linear"
    cs: tuple[float, ...] = C_PATHS["default"]
    """Inverse regularisation strengths to choose from inside the label budget, ascending, in scikit-learn's
    sense. They weigh the sum of the losses, so the best one depends on the size of the budget."""
    folds: int = 3
    """Parts into which the label budget is divided to choose C."""
    max_iter: int = 1000
    tol: float = 1e-4

    def __post_init__(self) -> None:
        one_of("protocol", self.protocol, ("linear",))
        ascending = len(self.cs) > 0 and all(map(positive, self.cs)) and list(self.cs) == sorted(set(self.cs))
        require(ascending, "cs", self.cs, "ascending numbers above 0")
        require(self.folds >= 2, "folds", self.folds, "at least 2")
        require(self.max_iter >= 1, "max_iter", self.max_iter, "at least 1")
        require(positive(self.tol), "tol", self.tol, "a number above 0")

    def describe(self) -> str:
        return "linear classifier"

    @property
    def c_path(self) -> str:
        """The name of ``cs`` in ``C_PATHS``, or "custom"."""
        return next((name for name, cs in C_PATHS.items() if cs == self.cs), "custom")


@dataclass(frozen=True, kw_only=True)
class KnnConfig(FeatureSettings):
    """Nearest neighbours of frozen features.

    The default k is that of Wu et al. 2018 (section 3.4), who use a temperature of 0.07. A temperature of 0.1
    is what the kNN monitors of MoCo's CIFAR demo and of lightly use.

    Raises:
        ValueError: A field is out of range; the message names it, its value and what to use.
    """

    TAG: ClassVar[str] = "KnnConfig"
    protocol: Literal["knn"] = "knn"
    k: int = 200
    """Nearest labelled images by cosine similarity; a smaller label budget uses all of its images."""
    temperature: float = 0.1
    """Each neighbour votes with a weight of exp(similarity / temperature)."""

    def describe(self) -> str:
        return f"{self.k}-nearest-neighbour classifier"

    def __post_init__(self) -> None:
        one_of("protocol", self.protocol, ("knn",))
        require(self.k >= 1, "k", self.k, "at least 1")
        enough = MIN_TEMPERATURE <= self.temperature < math.inf
        require(enough, "temperature", self.temperature, f"{MIN_TEMPERATURE} or more")
