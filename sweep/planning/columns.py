"""The results columns that say what a cell is: each is a function of its encoder or of the cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from ssl_sweep.ssl_core.config.probe import KnnConfig, ProbeConfig
from ssl_sweep.sweep.grid.views import policy_name
from ssl_sweep.sweep.planning.cells import Cell, Pretraining
from ssl_sweep.sweep.spec.specs import ProbeSpec

Value = str | int | float | bool | None


def _if_trained(value: Callable[[Pretraining], Value]) -> Callable[[Pretraining], Value]:
    return lambda p: value(p) if p.trained else None


def _setting(name: str) -> Callable[[Pretraining], Value]:
    return _if_trained(lambda p: getattr(p.spec.config, name))


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
MORE_SETTINGS = (
    "steps",
    "momentum",
    "momentum_encoder",
    "queue",
    "predictor_dim",
    "grad_clip",
    "lars_form",
    "weights",
)
"""With RECIPE, the fields of PretrainConfig that are also columns and keys of a pretrain block."""


def _epochs(p: Pretraining) -> int:
    """The given epochs, or the number of epochs that the given steps begin."""
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
"""Results columns that depend on the encoder only. None if they do not apply to a random encoder."""


def _schedule(cell: Cell) -> dict[str, int]:
    """Steps or epochs, whichever is the same for every label budget; the other differs between them."""
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
"""Results columns that depend on the evaluation."""

SETTING_COLUMNS: Mapping[str, Callable[[Pretraining], Value]] = {
    "image_size": lambda p: p.spec.config.image_size,
    **{name: _setting(name) for name in RECIPE},
    "strength": _if_trained(lambda p: round(p.spec.config.views.brightness / 0.8, 6)),
    "blur": _if_trained(lambda p: p.spec.config.views.blur > 0),
    "view_mode": _if_trained(lambda p: p.spec.config.views.mode),
    "precision": _setting("precision"),
    "views": _if_trained(lambda p: policy_name(p.view_policies)),
    "subset_draw": _if_trained(lambda p: p.spec.parts[0].draw),
    "imbalance": _if_trained(lambda p: p.spec.parts[0].imbalance),
    "pool_shares": lambda p: p.shares or None,
    **{name: _setting(name) for name in MORE_SETTINGS},
    "steps": _if_trained(lambda p: p.spec.config.total_steps(p.images or 0)),
    "weights": lambda p: p.spec.config.weights or None,
}
"""More settings of a pretraining that a grid can vary."""
