"""What a pretraining and a probe are, as data. No torch here: planning ten thousand cells must stay light."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from data_ops.views import ViewPolicy, simclr_policy

METHODS = ("random", "simclr")
ENCODERS = ("resnet-demo", "resnet18", "resnet50")
SMALL_IMAGE = 64
"""Up to this side in pixels the encoders take the small-image stem and the configs the CIFAR preset."""


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """One pretraining. `batch` is the global batch in images (each gives two views); `learning_rate` is
    the base rate that `peak_learning_rate` scales with the batch; `warmup_epochs` may be a fraction.

    Take one from `default_config`. Raises ValueError that names the field, its value and what would do.
    """

    method: str = "simclr"
    encoder: str = "resnet-demo"
    image_size: int = 32
    epochs: int = 100
    batch: int = 256
    seed: int = 0
    optimizer: Literal["lars", "sgd"] = "lars"
    learning_rate: float = 1.0
    lr_scaling: Literal["linear", "sqrt"] = "linear"
    warmup_epochs: float = 10.0
    weight_decay: float = 1e-4
    temperature: float = 0.5
    head_layers: int = 2
    head_dim: int = 128
    views: ViewPolicy
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        _one_of("method", self.method, METHODS)
        _one_of("encoder", self.encoder, ENCODERS)
        _one_of("optimizer", self.optimizer, ("lars", "sgd"))
        _one_of("lr_scaling", self.lr_scaling, ("linear", "sqrt"))
        _one_of("precision", self.precision, ("float32", "bfloat16"))
        _require(self.image_size >= 8, "image_size", self.image_size, "at least 8 pixels")
        _require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        _require(self.batch >= 2, "batch", self.batch, "at least 2, so that there is a negative")
        _require(0 <= self.seed < 2**63, "seed", self.seed, "0 to 2**63 - 1")
        _require(_positive(self.learning_rate), "learning_rate", self.learning_rate, "a number above 0")
        _require(
            0 <= self.warmup_epochs < self.epochs, "warmup_epochs", self.warmup_epochs, "0 to below `epochs`"
        )
        _require(0 <= self.weight_decay < math.inf, "weight_decay", self.weight_decay, "0 or more")
        _require(_positive(self.temperature), "temperature", self.temperature, "a number above 0")
        _require(1 <= self.head_layers <= 3, "head_layers", self.head_layers, "1, 2 or 3")
        _require(self.head_dim >= 1, "head_dim", self.head_dim, "at least 1")
        _require(
            self.views.size == self.image_size,
            "views.size",
            self.views.size,
            f"{self.image_size} (image_size)",
        )

    @property
    def peak_learning_rate(self) -> float:
        """Base rate times batch / 256 (linear) or the square root of the batch (SimCLR, table B.1)."""
        return self.learning_rate * (
            self.batch / 256 if self.lr_scaling == "linear" else math.sqrt(self.batch)
        )


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """How features are judged. `cs` are the inverse regularisation strengths to choose from inside the
    budget, in scikit-learn's sense (they weigh the sum of the losses, so the best one moves with the
    budget: choose per budget).
    """

    protocol: Literal["linear"] = "linear"
    cs: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1)
    folds: int = 3
    max_iter: int = 1000
    tol: float = 1e-4

    def __post_init__(self) -> None:
        _one_of("protocol", self.protocol, ("linear",))
        ascending = (
            len(self.cs) > 0 and all(map(_positive, self.cs)) and list(self.cs) == sorted(set(self.cs))
        )
        _require(ascending, "cs", self.cs, "ascending numbers above 0")
        _require(self.folds >= 2, "folds", self.folds, "at least 2")
        _require(self.max_iter >= 1, "max_iter", self.max_iter, "at least 1")
        _require(_positive(self.tol), "tol", self.tol, "a number above 0")


def default_config(encoder: str, image_size: int, **overrides: Any) -> PretrainConfig:
    """The preset of an encoder at an image size, with `overrides` of any field of PretrainConfig.

    - resnet18, resnet50 up to 64 px: the official CIFAR-10 command of google-research/simclr (LARS, rate
      1.0 per 256, batch 512, temperature 0.5, colour strength 0.5, no blur).
    - above 64 px: its ImageNet recipe (LARS, rate 0.075 per root of the batch, which equals 0.3 per 256 at
      the published batch of 4096 and is the better one below it (table B.1); temperature 0.1, decay 1e-6).
    - resnet-demo: LARS, rate 4.0 per 256, batch 128, temperature 0.2; chosen for a few thousand images and a
      few dozen epochs on a CPU core, where temperatures of 0.5 and SGD learned less or less reliably.

    The warm-up is the reference's 10 epochs, or a tenth of a schedule shorter than 100. TypeError for an
    unknown field, ValueError for a value out of range.
    """
    _one_of("encoder", encoder, ENCODERS)
    fields: dict[str, Any] = {"encoder": encoder, "image_size": image_size}
    if encoder == "resnet-demo":
        fields |= {"learning_rate": 4.0, "temperature": 0.2, "batch": 128, "head_dim": 64}
    elif image_size <= SMALL_IMAGE:
        fields |= {"batch": 512}
    else:
        fields |= {"batch": 4096, "learning_rate": 0.075, "lr_scaling": "sqrt"}
        fields |= {"temperature": 0.1, "weight_decay": 1e-6}
    epochs = overrides.get("epochs", PretrainConfig.epochs)
    fields["warmup_epochs"] = min(10.0, epochs / 10)
    if "views" not in overrides:
        fields["views"] = simclr_policy(image_size)
    return PretrainConfig(**{**fields, **overrides})


def _positive(value: float) -> bool:
    return 0 < value < math.inf


def _one_of(field: str, value: str, names: tuple[str, ...]) -> None:
    if value not in names:
        raise ValueError(f"{field} is {value!r}; use one of {', '.join(names)}")


def _require(condition: bool, field: str, value: object, what: str) -> None:
    if not condition:
        raise ValueError(f"{field} is {value}; use {what}")
