"""A cell of the grid, fully resolved: which encoder, judged how, on what; and its results columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sweep.catalog import DatasetInfo
from sweep.sizes import Size
from sweep.specs import PretrainSpec, ProbeSpec
from sweep.view_choice import policy_name

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

    @property
    def trained(self) -> bool:
        return self.spec.config.method != "random"

    @property
    def seeds(self) -> tuple[int, int]:
        """(subset seed, pretraining seed)"""
        return max(part.subset_seed for part in self.spec.parts), self.spec.config.seed

    @property
    def label(self) -> str:
        """`simclr · objects+scenes · 2000 · none · seed 0`: what differs between the encoders of a sweep."""
        config = self.spec.config
        if not self.trained:
            return f"random · {config.encoder} · for {self.datasets[0].name} · seed {config.seed}"
        return (
            f"{config.method} · {self.domain} · {self.images} · {self.spec.corruption} · seed {config.seed}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One question of the grid. `labels` as written, `corruption` of the test images; `train_features` and
    `test_features` are in `probe`.

    `id` is made from the probe's id and the names and label text of its row, so a cell whose data, settings
    or stage versions change is another cell, before and after in any index kept by it.
    """

    id: str
    pretraining: Pretraining
    evaluation: DatasetInfo
    labels: Size
    corruption: str = "none"
    probe: ProbeSpec
    probe_id: str

    @property
    def label(self) -> str:
        damage = "" if self.corruption == "none" else f" {self.corruption}"
        judged = f"{self.evaluation.name}{damage} · {self.labels.text} labels · seed {self.probe.seed}"
        return f"{self.pretraining.label} → {judged}"


def _if_trained(value: Callable[[Pretraining], Value]) -> Callable[[Pretraining], Value]:
    return lambda p: value(p) if p.trained else None


PRETRAIN_COLUMNS: Mapping[str, Callable[[Pretraining], Value]] = {
    "pretrain_id": lambda p: p.id,
    "method": lambda p: p.spec.config.method,
    "pretrain_domain": lambda p: p.domain,
    "images": lambda p: p.images,
    "corruption": _if_trained(lambda p: p.spec.corruption),
    "encoder": lambda p: p.spec.config.encoder,
    "epochs": _if_trained(lambda p: p.spec.config.epochs),
    "batch": _if_trained(lambda p: p.spec.config.batch),
    "subset_seed": _if_trained(lambda p: p.seeds[0]),
    "pretrain_seed": lambda p: p.seeds[1],
}
"""Results columns that an encoder alone decides. Empty (None) where a random encoder has no such thing."""

EVALUATE_COLUMNS: Mapping[str, Callable[[Cell], Value]] = {
    "eval_domain": lambda c: c.evaluation.name,
    "labels": lambda c: c.labels.text,
    "n_labels": lambda c: c.probe.n_labels,
    "draw": lambda c: c.probe.draw,
    "protocol": lambda c: c.probe.config.protocol,
    "probe_seed": lambda c: c.probe.seed,
    "eval_corruption": lambda c: c.corruption,
    "label_imbalance": lambda c: c.probe.imbalance,
}
"""Results columns that the evaluation decides."""

SETTING_COLUMNS: Mapping[str, Callable[[Pretraining], Value]] = {
    "image_size": lambda p: p.spec.config.image_size,
    "optimizer": _if_trained(lambda p: p.spec.config.optimizer),
    "learning_rate": _if_trained(lambda p: p.spec.config.learning_rate),
    "lr_scaling": _if_trained(lambda p: p.spec.config.lr_scaling),
    "warmup_epochs": _if_trained(lambda p: p.spec.config.warmup_epochs),
    "weight_decay": _if_trained(lambda p: p.spec.config.weight_decay),
    "temperature": _if_trained(lambda p: p.spec.config.temperature),
    "head_layers": _if_trained(lambda p: p.spec.config.head_layers),
    "head_dim": _if_trained(lambda p: p.spec.config.head_dim),
    "strength": _if_trained(lambda p: round(p.spec.config.views.brightness / 0.8, 6)),
    "blur": _if_trained(lambda p: p.spec.config.views.blur > 0),
    "view_mode": _if_trained(lambda p: p.spec.config.views.mode),
    "precision": _if_trained(lambda p: p.spec.config.precision),
    "views": _if_trained(lambda p: policy_name((p.spec.config.views,))),
    "subset_draw": _if_trained(lambda p: p.spec.parts[0].draw),
    "imbalance": _if_trained(lambda p: p.spec.parts[0].imbalance),
    "pool_shares": lambda p: p.shares or None,
}
"""The settings that a grid can also vary; the last columns of the results."""
