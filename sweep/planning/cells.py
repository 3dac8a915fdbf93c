"""A cell of the grid, fully resolved: which encoder, judged how, on what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ssl_sweep.data_ops.views.policy import ViewPolicy
from ssl_sweep.ssl_core.config.registry import FEATURES
from ssl_sweep.sweep.grid.sizes import Size
from ssl_sweep.sweep.grid.views import policy_name
from ssl_sweep.sweep.planning.datasets import DatasetInfo
from ssl_sweep.sweep.protocols import protocol_of
from ssl_sweep.sweep.spec.specs import Answer, FeatureSpec, PretrainSpec, Stage

Features = tuple[Mapping[str, FeatureSpec], Mapping[str, FeatureSpec]]
"""id → spec of the features of the training and of the test images, one for each encoder."""


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """An encoder of the grid."""

    id: str
    spec: PretrainSpec
    datasets: tuple[DatasetInfo, ...]
    """In the order of the spec's parts."""
    domain: str
    """Name of the dataset, or ``a+b`` for a pool, sorted; "" for an encoder that is not trained here."""
    images: int | None
    """Number of pretraining images; None for an encoder that is not trained here."""
    available: int
    """Number of images that ``images: all`` would give."""
    shares: str = ""
    """Shares of a pool as they were given, such as ``75%+25%``."""
    weights: str = ""
    """File of given weights."""

    @property
    def trained(self) -> bool:
        """Whether the sweep trains it; it does not train random and given encoders."""
        return self.spec.trains

    @cached_property
    def seeds(self) -> tuple[int, int]:
        """(subset seed, pretraining seed)"""
        return max((part.subset_seed for part in self.spec.parts), default=0), self.spec.config.seed

    @property
    def view_policies(self) -> tuple[ViewPolicy, ...]:
        """The policy of both views, or one for each."""
        config = self.spec.config
        return (config.views, config.views2) if config.views2 else (config.views,)

    @cached_property
    def label(self) -> str:
        """What differs between a sweep's encoders: ``simclr · objects+scenes · 2000 · none · seed 0``."""
        config = self.spec.config
        if config.method == "weights":
            return f"weights · {config.encoder} · {config.weights}"
        if not self.trained:
            return f"random · {config.encoder} · for {self.datasets[0].name} · seed {config.seed}"
        part = self.spec.parts[0]
        views = policy_name(self.view_policies) if config.method in ("simclr", "moco-v2") else "simclr"
        rare = {
            "views": "" if views == "simclr" else views,
            "shares": self.shares,
            "draw": "" if part.draw == "uniform" else part.draw,
            "imbalance": "" if part.imbalance == 1 else f"{part.imbalance:g}",
            "subset seed": str(self.seeds[0] or ""),
        }
        words = [config.method, self.domain, str(self.images), self.spec.corruption]
        words += [f"{name} {value}" for name, value in rare.items() if value]
        return " · ".join([*words, f"seed {config.seed}"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One question of the grid."""

    id: str
    """Made from the id of the probe and the names and label text of its row. A cell whose data, settings or
    stage versions change gets another id."""
    pretraining: Pretraining
    evaluation: DatasetInfo
    labels: Size
    """The label budget, as written in the grid."""
    corruption: str = "none"
    """Corruption of the test images."""
    representation: str = FEATURES
    fused: tuple[Pretraining, ...] = ()
    """Encoders whose features are joined to those of ``pretraining``."""
    features: Features = field(default=({}, {}), compare=False)
    """The features that a probe reads: of the clean training images and of the test images."""
    probe: Answer
    probe_id: str

    @property
    def encoders(self) -> tuple[Pretraining, ...]:
        """``pretraining`` and the fused encoders."""
        return (self.pretraining, *self.fused)

    @property
    def datasets(self) -> tuple[DatasetInfo, ...]:
        """Every dataset that the answer depends on."""
        if not self.fused:
            return (*self.pretraining.datasets, self.evaluation)
        return (*(info for p in self.encoders for info in p.datasets), self.evaluation)

    @property
    def protocol(self) -> str:
        """As the grid names it, such as ``linear``."""
        return protocol_of(self.probe.config).name

    @property
    def train_level(self) -> str | None:
        """The level whose labels are learnt; None for the finest of a dataset that is not prepared yet."""
        return self.probe.level or next(iter(self.evaluation.levels), None)

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels that are judged: the one learnt and the coarser ones."""
        known = self.evaluation.levels
        return known[known.index(self.probe.level) :] if self.probe.level in known else known

    @property
    def stage(self) -> Stage:
        """The kind of stage that answers it."""
        return self.probe.STAGE

    @property
    def label(self) -> str:
        """The label of its encoders, and what is asked of them."""
        damage = "" if self.corruption == "none" else f" {self.corruption}"
        judged = f"{self.evaluation.name}{damage} · {self.labels.text} labels · seed {self.probe.seed}"
        rare = ["" if self.protocol == "linear" else self.protocol, self.probe.level]
        rare += ["" if self.representation == FEATURES else self.representation]
        encoders = " + ".join(p.label for p in self.encoders)
        return f"{encoders} → {' '.join([*filter(None, rare), judged])}"
