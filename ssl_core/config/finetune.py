"""What a fine-tuning is, as data. No torch here: planning must stay light."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from ssl_sweep.data_ops.views.named_policies import named_policy
from ssl_sweep.data_ops.views.policy import ViewPolicy
from ssl_sweep.ssl_core.config.pretrain import ENCODERS, SMALL_IMAGE

RATES = 3
"""How many learning rates a budget chooses from."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """How an encoder, pretrained or with random weights, is trained end to end on a label budget.

    One of `steps` and `epochs` is above 0: it is what is the same for every budget. `batch` is the largest
    batch; a smaller budget is one batch, others divide into near-equal ones. `learning_rates` are three base
    rates, ascending, for 256 images; they scale with the batch. SGD has Nesterov momentum, and there is no
    warm-up: half a cosine from the rate to 0. `folds` are for budgets below `holdout_from` labels; from
    there on one in `holdout` labels is held out once.

    Take one from `default_finetune`. Raises ValueError that names the field, its value and what would do.
    """

    steps: int = 0
    epochs: int = 0
    batch: int = 256
    learning_rates: tuple[float, float, float] = (0.01, 0.05, 0.25)
    optimizer: Literal["sgd", "lars"] = "sgd"
    momentum: float = 0.9
    weight_decay: float = 0.0
    folds: int = 3
    holdout: int = 7
    holdout_from: int = 200
    views: ViewPolicy
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        one = (self.steps > 0) != (self.epochs > 0) and min(self.steps, self.epochs) == 0
        _require(one, "steps", f"{self.steps} and epochs {self.epochs}", "one above 0 and the other 0")
        _require(self.batch >= 2, "batch", self.batch, "at least 2")
        rates = self.learning_rates
        ascending = len(rates) == RATES and 0 < rates[0] < rates[1] < rates[2] < math.inf
        _require(ascending, "learning_rates", rates, "three ascending numbers above 0")
        _require(self.optimizer in ("sgd", "lars"), "optimizer", repr(self.optimizer), "'sgd' or 'lars'")
        _require(0 < self.momentum < 1, "momentum", self.momentum, "above 0 and below 1")
        _require(0 <= self.weight_decay < math.inf, "weight_decay", self.weight_decay, "0 or more")
        _require(self.folds >= 2, "folds", self.folds, "at least 2")
        _require(self.holdout >= 2, "holdout", self.holdout, "at least 2")
        _require(self.holdout_from >= 1, "holdout_from", self.holdout_from, "at least 1")
        known = self.precision in ("float32", "bfloat16")
        _require(known, "precision", repr(self.precision), "'float32' or 'bfloat16'")

    def batches(self, labels: int) -> tuple[int, int]:
        """Batch size and steps per epoch for so many labels: near-equal batches, none of a single image,
        which batch norm could not take. A remainder of less than a batch sits an epoch out."""
        per_epoch = max(1, min(math.ceil(labels / self.batch), labels // 2))
        return labels // per_epoch, per_epoch

    def total_steps(self, labels: int) -> int:
        """Steps of a fit on so many labels."""
        return self.steps or self.epochs * self.batches(labels)[1]


def default_finetune(encoder: str, image_size: int, **overrides: Any) -> FinetuneConfig:
    """The preset of an encoder at an image size, with `overrides` of any field.

    Steps are constant over the budgets, as in SimCLR's transfer protocol (appendix B.8: 20,000 steps, batch
    256), fewer for small images and the demo encoder; give `steps=0, epochs=...` for the low-label protocol,
    see `reference_epochs`. Views are crop and flip. The middle rate is the reference's 0.05 per 256 (appendix
    B.5). All encoders but the demo one take bfloat16 autocast where the hardware is faster with it, as in a
    pretraining. ValueError or TypeError for what is not there.
    """
    if encoder not in ENCODERS:
        raise ValueError(f"encoder is {encoder!r}; use one of {', '.join(ENCODERS)}")
    fields: dict[str, Any] = {"steps": 20_000}
    if encoder == "resnet-demo":
        fields = {"steps": 300, "batch": 64, "learning_rates": (0.04, 0.2, 1.0)}
    elif image_size <= SMALL_IMAGE:
        fields = {"steps": 2_000, "batch": 128}
    if encoder != "resnet-demo":
        fields["precision"] = "bfloat16"
    if "views" not in overrides:
        (fields["views"],) = named_policy("supervised", image_size)
    return FinetuneConfig(**{**fields, **overrides})


def reference_epochs(labels: int, available: int, from_scratch: bool = False) -> int:
    """SimCLR's epochs on `labels` of the `available` labelled images (appendix B.5): 60 up to 1 %, else 30;
    90 from scratch, as its supervised reference, so that the untrained side is not the one cut short."""
    if from_scratch:
        return 90
    return 60 if labels * 100 <= available else 30


def _require(condition: bool, field: str, value: object, what: str) -> None:
    if not condition:
        raise ValueError(f"{field} is {value}; use {what}")
