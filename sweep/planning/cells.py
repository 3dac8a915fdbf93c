"""A cell of the grid, fully resolved: which encoder, judged how, on what; and its results columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ssl_sweep.data_ops.views.policy import ViewPolicy
from ssl_sweep.ssl_core.config.probe import KnnConfig, ProbeConfig
from ssl_sweep.ssl_core.config.registry import FEATURES
from ssl_sweep.sweep.grid.sizes import Size
from ssl_sweep.sweep.grid.views import policy_name
from ssl_sweep.sweep.planning.datasets import DatasetInfo
from ssl_sweep.sweep.spec.specs import (
    UNTRAINED,
    Answer,
    FeatureSpec,
    PretrainSpec,
    ProbeSpec,
    Stage,
    feature_specs,
)

Value = str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretraining:
    """An encoder of the grid. `datasets` in the order of the spec's parts; `domain` is `a+b` for a pool, in
    the order of names, and `shares` `75%+25%` where they were given. `images` is None for a random encoder.
    `available` is what `images: all` would be."""

    id: str
    spec: PretrainSpec
    datasets: tuple[DatasetInfo, ...]
    domain: str
    images: int | None
    available: int
    shares: str = ""
    weights: str = ""

    @property
    def trained(self) -> bool:
        return self.spec.config.method not in UNTRAINED

    @property
    def seeds(self) -> tuple[int, int]:
        """(subset seed, pretraining seed)"""
        return max((part.subset_seed for part in self.spec.parts), default=0), self.spec.config.seed

    @property
    def label(self) -> str:
        """`simclr · objects+scenes · 2000 · none · seed 0`: what differs between the encoders of a sweep."""
        config = self.spec.config
        if config.method == "weights":
            return f"weights · {config.encoder} · {config.weights}"
        if not self.trained:
            return f"random · {config.encoder} · for {self.datasets[0].name} · seed {config.seed}"
        part = self.spec.parts[0]
        views = policy_name(_views(self)) if config.method in ("simclr", "moco-v2") else "simclr"
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
    """One question of the grid. `labels` as written, `corruption` of the test images. `fused` are encoders
    whose features are joined to those of `pretraining`, usually none.

    `id` is made from the probe's id and the names and label text of its row, so a cell whose data, settings
    or stage versions change is another cell, before and after in any index kept by it.
    """

    id: str
    pretraining: Pretraining
    evaluation: DatasetInfo
    labels: Size
    corruption: str = "none"
    representation: str = FEATURES
    fused: tuple[Pretraining, ...] = ()
    probe: Answer
    probe_id: str

    @property
    def encoders(self) -> tuple[Pretraining, ...]:
        return (self.pretraining, *self.fused)

    @property
    def datasets(self) -> tuple[DatasetInfo, ...]:
        """Every dataset that the answer rests on."""
        return (*(info for p in self.encoders for info in p.datasets), self.evaluation)

    def feature_specs(self) -> tuple[list[FeatureSpec], list[FeatureSpec]]:
        """Those of `probe.train_features` and of `probe.test_features`."""
        ids = [p.id for p in self.encoders]
        return feature_specs(ids, self.evaluation.fingerprint, self.corruption, self.representation)

    @property
    def protocol(self) -> str:
        """`linear`, `knn` or `fine-tune`."""
        if not isinstance(self.probe, ProbeSpec):
            return "fine-tune"
        return "linear" if isinstance(self.probe.config, ProbeConfig) else "knn"

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
        """The stage that answers it."""
        return "probe" if isinstance(self.probe, ProbeSpec) else "finetune"

    @property
    def label(self) -> str:
        damage = "" if self.corruption == "none" else f" {self.corruption}"
        judged = f"{self.evaluation.name}{damage} · {self.labels.text} labels · seed {self.probe.seed}"
        rare = ["" if self.protocol == "linear" else self.protocol, self.probe.level]
        rare += ["" if self.representation == FEATURES else self.representation]
        encoders = " + ".join(p.label for p in self.encoders)
        return f"{encoders} → {' '.join([*filter(None, rare), judged])}"


def _if_trained(value: Callable[[Pretraining], Value]) -> Callable[[Pretraining], Value]:
    return lambda p: value(p) if p.trained else None


def _setting(name: str) -> Callable[[Pretraining], Value]:
    return _if_trained(lambda p: getattr(p.spec.config, name))


def _views(p: Pretraining) -> tuple[ViewPolicy, ...]:
    config = p.spec.config
    return (config.views, config.views2) if config.views2 else (config.views,)


RECIPE = (
    "optimizer",
    "learning_rate",
    "lr_scaling",
    "warmup_epochs",
    "weight_decay",
    "temperature",
    "head_layers",
    "head_dim",
)
LATER_SETTINGS = (
    "steps",
    "momentum",
    "momentum_encoder",
    "queue",
    "predictor_dim",
    "grad_clip",
    "lars_form",
    "weights",
)
"""With RECIPE the fields of PretrainConfig that are columns, and keys of a pretrain block, under their own
names."""


def _epochs(p: Pretraining) -> int:
    """As given, or as many as the given steps begin."""
    config = p.spec.config
    return math.ceil(config.steps * config.batch / (p.images or 1)) if config.steps else config.epochs


PRETRAIN_COLUMNS: Mapping[str, Callable[[Pretraining], Value]] = {
    "pretrain_id": lambda p: p.id,
    "method": lambda p: p.spec.config.method,
    "pretrain_domain": lambda p: p.domain,
    "images": lambda p: p.images,
    "corruption": _if_trained(lambda p: p.spec.corruption),
    "encoder": lambda p: p.spec.config.encoder,
    "epochs": _if_trained(lambda p: _epochs(p)),
    "batch": _if_trained(lambda p: p.spec.config.batch),
    "subset_seed": _if_trained(lambda p: p.seeds[0]),
    "pretrain_seed": lambda p: p.seeds[1],
}
"""Results columns that an encoder alone decides. Empty (None) where a random encoder has no such thing."""


def _schedule(cell: Cell) -> dict[str, int]:
    """Which of the two is the same for every budget: with the other one no two budgets would be alike."""
    if isinstance(cell.probe, ProbeSpec):
        return {}
    config = cell.probe.config
    return {"steps": config.steps} if config.steps else {"epochs": config.epochs}


EVALUATE_COLUMNS: Mapping[str, Callable[[Cell], Value]] = {
    "eval_domain": lambda c: c.evaluation.name,
    "labels": lambda c: c.labels.text,
    "n_labels": lambda c: c.probe.n_labels,
    "draw": lambda c: c.probe.draw,
    "protocol": lambda c: c.protocol,
    "probe_seed": lambda c: c.probe.seed,
    "eval_corruption": lambda c: c.corruption,
    "label_imbalance": lambda c: c.probe.imbalance,
    "finetune_steps": lambda c: _schedule(c).get("steps"),
    "finetune_epochs": lambda c: _schedule(c).get("epochs"),
    "representation": lambda c: c.representation,
    "train_level": lambda c: c.train_level,
    "fused_with": lambda c: " + ".join(p.label for p in c.fused),
    "fused_domain": lambda c: "+".join(p.domain for p in c.fused),
    "fused_method": lambda c: "+".join(p.spec.config.method for p in c.fused),
    "c_path": lambda c: c.probe.config.c_path if isinstance(c.probe.config, ProbeConfig) else None,
    "knn_k": lambda c: c.probe.config.k if isinstance(c.probe.config, KnnConfig) else None,
    "knn_temperature": lambda c: (
        c.probe.config.temperature if isinstance(c.probe.config, KnnConfig) else None
    ),
}
"""Results columns that the evaluation decides."""

SETTING_COLUMNS: Mapping[str, Callable[[Pretraining], Value]] = {
    "image_size": lambda p: p.spec.config.image_size,
    **{name: _setting(name) for name in RECIPE},
    "strength": _if_trained(lambda p: round(p.spec.config.views.brightness / 0.8, 6)),
    "blur": _if_trained(lambda p: p.spec.config.views.blur > 0),
    "view_mode": _if_trained(lambda p: p.spec.config.views.mode),
    "precision": _setting("precision"),
    "views": _if_trained(lambda p: policy_name(_views(p))),
    "subset_draw": _if_trained(lambda p: p.spec.parts[0].draw),
    "imbalance": _if_trained(lambda p: p.spec.parts[0].imbalance),
    "pool_shares": lambda p: p.shares or None,
    **{name: _setting(name) for name in LATER_SETTINGS},
    "steps": _if_trained(lambda p: p.spec.config.total_steps(p.images or 0)),
    "weights": lambda p: p.spec.config.weights or None,
}
"""The settings that a grid can also vary; the last columns of the results."""
