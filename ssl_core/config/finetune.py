"""What a fine-tuning is, as data. No torch here: planning must stay light."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from ssl_sweep.data_ops.views.named_policies import named_policy
from ssl_sweep.data_ops.views.policy import ViewPolicy
from ssl_sweep.ssl_core.config.checks import require
from ssl_sweep.ssl_core.config.registry import ENCODERS, SMALL_IMAGE

RATES = 3
"""Learning rates that a label budget chooses from."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """How an encoder, pretrained or random, is trained end to end on a label budget.

    ``default_finetune`` makes one. Exactly one of ``steps`` and ``epochs`` is above 0: it is the same for
    every label budget. SGD uses Nesterov momentum. There is no warm-up: the rate follows half a cosine to 0.

    Raises:
        ValueError: A field is out of range; the message names it, its value and what to use.
    """

    steps: int = 0
    """Optimisation steps of a fit."""
    epochs: int = 0
    batch: int = 256
    """Largest batch in images. A smaller label budget is one batch; a larger one is divided into near-equal
    batches."""
    learning_rates: tuple[float, float, float] = (0.01, 0.05, 0.25)
    """Base rates per 256 images to choose from, ascending; they scale with the batch."""
    optimizer: Literal["sgd", "lars"] = "sgd"
    momentum: float = 0.9
    weight_decay: float = 0.0
    folds: int = 3
    """Folds to choose the rate by, for label budgets below ``holdout_from``."""
    holdout: int = 7
    """From ``holdout_from`` labels on, one in this many labels is held out once."""
    holdout_from: int = 200
    views: ViewPolicy
    precision: Literal["float32", "bfloat16"] = "float32"
    """``bfloat16`` is autocast, used only if the hardware is faster with it."""

    def __post_init__(self) -> None:
        one = (self.steps > 0) != (self.epochs > 0) and min(self.steps, self.epochs) == 0
        require(one, "steps", f"{self.steps} and epochs {self.epochs}", "one above 0 and the other 0")
        require(self.batch >= 2, "batch", self.batch, "at least 2")
        rates = self.learning_rates
        ascending = len(rates) == RATES and 0 < rates[0] < rates[1] < rates[2] < math.inf
        require(ascending, "learning_rates", rates, "three ascending numbers above 0")
        require(self.optimizer in ("sgd", "lars"), "optimizer", repr(self.optimizer), "'sgd' or 'lars'")
        require(0 < self.momentum < 1, "momentum", self.momentum, "above 0 and below 1")
        require(0 <= self.weight_decay < math.inf, "weight_decay", self.weight_decay, "0 or more")
        require(self.folds >= 2, "folds", self.folds, "at least 2")
        require(self.holdout >= 2, "holdout", self.holdout, "at least 2")
        require(self.holdout_from >= 1, "holdout_from", self.holdout_from, "at least 1")
        known = self.precision in ("float32", "bfloat16")
        require(known, "precision", repr(self.precision), "'float32' or 'bfloat16'")

    def batches(self, labels: int) -> tuple[int, int]:
        """Batch size and steps per epoch for this many labels.

        Batches are near-equal, and none has a single image, which batch norm could not handle. The remainder
        of a division, always less than a batch, is left out of the epoch.
        """
        per_epoch = max(1, min(math.ceil(labels / self.batch), labels // 2))
        return labels // per_epoch, per_epoch

    def total_steps(self, labels: int) -> int:
        """Optimisation steps of a fit on this many labels."""
        return self.steps or self.epochs * self.batches(labels)[1]

    def total_views(self, labels: int) -> int:
        """Views of the final fit on this many labels, and of one fit for each learning rate and fold."""
        folds = self.folds if labels < self.holdout_from else 1
        fits = 1 + len(self.learning_rates) * folds
        return self.total_steps(labels) * self.batches(labels)[0] * fits


def default_finetune(encoder: str, image_size: int, **overrides: Any) -> FinetuneConfig:
    """The preset of an encoder at an image size, with ``overrides`` of any field.

    Steps are the same for every label budget, as in SimCLR's transfer protocol (appendix B.8: 20,000 steps,
    batch 256), fewer for small images and the demo encoder. For the low-label protocol give ``steps=0`` and
    the ``epochs`` of ``reference_epochs``. Views are crop and flip. The middle rate is the reference's 0.05
    per 256 images (appendix B.5). All encoders but the demo one use bfloat16 autocast if the hardware is
    faster with it, as in a pretraining.

    Raises:
        TypeError: A field is unknown.
        ValueError: The encoder is unknown, or a value is out of range.
    """
    if encoder not in ENCODERS:
        from ssl_sweep.ssl_core.config.plugins import added_class  # slow: searches the installed packages

        added_class("encoder", encoder)
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
    """SimCLR's epochs on ``labels`` of the ``available`` labelled images (appendix B.5).

    60 up to 1 % of the labels, else 30. 90 from scratch, as in its supervised reference, so that the
    untrained side is not cut short.
    """
    if from_scratch:
        return 90
    return 60 if labels * 100 <= available else 30
