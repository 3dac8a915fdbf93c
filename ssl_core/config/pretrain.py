"""What a pretraining and a probe are, as data. No torch here: planning ten thousand cells must stay light."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from ssl_sweep.data_ops.views.policy import ViewPolicy
from ssl_sweep.ssl_core.config.presets import method_fields

METHODS = (
    "random",
    "simclr",
    "moco-v2",
    "byol",
    "rotation",
    "jigsaw",
    "inpainting",
    "supervised",
    "weights",
)
ENCODERS = (
    "resnet-demo",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet50-2x",
    "resnet50-4x",
    "vit-s",
    "vit-b",
)
LABELLED_METHODS = frozenset({"supervised"})
"""Methods that learn from labels."""
TWO_VIEWS = frozenset({"simclr", "moco-v2", "byol"})
"""Methods that compare two views of an image; the others take one."""
USED_BY: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "temperature": frozenset({"simclr", "moco-v2"}),
        "head_layers": TWO_VIEWS,
        "head_dim": TWO_VIEWS,
        "queue": frozenset({"moco-v2"}),
        "predictor_dim": frozenset({"byol"}),
        "momentum_encoder": frozenset({"moco-v2", "byol"}),
    }
)
"""Settings that only some built-in methods look at, and those methods."""
FEATURES, HEAD_OUTPUT = "h", "g(h)"
"""The representation before the projection head, and the one after it."""
LAYERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "resnet-demo": tuple(f"blocks.{i}" for i in range(4)),
        **{name: tuple(f"layer{i}" for i in range(1, 5)) for name in ENCODERS if name[6:7].isdigit()},
        **{
            name: tuple(f"encoder.layers.encoder_layer_{i}" for i in range(12)) for name in ("vit-s", "vit-b")
        },
    }
)
"""The blocks of each encoder whose pooled output can be asked for, from input to output."""
MIN_TEMPERATURE = 0.005
"""Of neighbours' votes. Similarities differ by 2 at most: below this the smallest vote would be no number."""
SMALL_IMAGE = 64
"""Up to this side in pixels the encoders take the small-image stem and the configs the CIFAR preset."""


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """One pretraining. `batch` is the global batch in images, whatever the workers; `learning_rate` is the
    base rate that `peak_learning_rate` scales with the batch; `warmup_epochs` may be a fraction.

    - `steps` above 0 holds the optimisation steps constant instead of the epochs, which then follow from the
      number of images; the warm-up keeps its share of the schedule, warmup_epochs / epochs.
    - `views2` is the policy of the second view where it has its own (BYOL); None: that of `views`.
    - `head_layers` 0 compares the features themselves.
    - `momentum` is the optimiser's; `momentum_encoder` the share of the slow copy that a step keeps (MoCo;
      BYOL's at the start), 0 for the method's own. `queue` is MoCo's, in images; 0 for 65,536; never more
      than the training images. `predictor_dim` is the width of BYOL's hidden layers, 0 for its own.
    - `grad_clip` bounds the norm of the whole gradient; 0 does not. `lars_form` is what divides in the trust
      ratio: the norm of gradient and decay together (official) or the sum of their norms (You et al. 2017).
    - `weights` says which ones method "weights" takes.
    - `method_version` names the distribution of a method that is not built in, and its version: a changed
      method is another training.

    There is no gradient accumulation: losses over a batch of pairs are no sum over parts of the batch.

    Take one from `default_config`. Raises ValueError that names the field, its value and what would do.
    """

    method: str = "simclr"
    encoder: str = "resnet-demo"
    image_size: int = 32
    epochs: int = 100
    batch: int = 256
    seed: int = 0
    optimizer: Literal["lars", "sgd", "adamw"] = "lars"
    learning_rate: float = 1.0
    lr_scaling: Literal["linear", "sqrt"] = "linear"
    warmup_epochs: float = 10.0
    weight_decay: float = 1e-4
    temperature: float = 0.5
    head_layers: int = 2
    head_dim: int = 128
    views: ViewPolicy
    precision: Literal["float32", "bfloat16"] = "float32"
    views2: ViewPolicy | None = None
    steps: int = 0
    momentum: float = 0.9
    momentum_encoder: float = 0.0
    queue: int = 0
    predictor_dim: int = 0
    grad_clip: float = 0.0
    lars_form: Literal["official", "you2017"] = "official"
    weights: str = ""
    method_version: str = ""

    def __post_init__(self) -> None:
        if not self.method_version:
            _one_of("method", self.method, METHODS)
        _one_of("encoder", self.encoder, ENCODERS)
        _one_of("optimizer", self.optimizer, ("lars", "sgd", "adamw"))
        _one_of("lars_form", self.lars_form, ("official", "you2017"))
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
        _require(0 <= self.head_layers <= 3, "head_layers", self.head_layers, "0, 1, 2 or 3")
        _require(self.head_dim >= 1, "head_dim", self.head_dim, "at least 1")
        for field, policy in (("views", self.views), ("views2", self.views2)):
            fits = policy is None or policy.size == self.image_size
            size = policy.size if policy is not None else 0
            _require(fits, f"{field}.size", size, f"{self.image_size} (image_size)")
        _require(self.steps >= 0, "steps", self.steps, "the steps, or 0 to count in epochs")
        _require(0 <= self.momentum < 1, "momentum", self.momentum, "0 to below 1")
        in_range = 0 <= self.momentum_encoder <= 1
        _require(in_range, "momentum_encoder", self.momentum_encoder, "0 (the method's own) to 1")
        whole = self.queue >= 0 and self.queue % self.batch == 0
        _require(whole, "queue", self.queue, f"a multiple of batch ({self.batch}), or 0 for the default")
        _require(
            self.predictor_dim >= 0, "predictor_dim", self.predictor_dim, "a width, or 0 for the default"
        )
        _require(0 <= self.grad_clip < math.inf, "grad_clip", self.grad_clip, "a norm, or 0 for no bound")

    def total_steps(self, images: int) -> int:
        """Optimisation steps of a training on so many images."""
        return self.steps or self.epochs * (images // self.batch)

    @property
    def peak_learning_rate(self) -> float:
        """Base rate times batch / 256 (linear) or the square root of the batch (SimCLR, table B.1)."""
        return self.learning_rate * (
            self.batch / 256 if self.lr_scaling == "linear" else math.sqrt(self.batch)
        )


C_PATHS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "default": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1),
        # to six digits, so that the numbers, and what is identified by them, are the same on every machine
        "simclr": tuple(float(f"{10 ** (-6 + k / 4):.6g}") for k in range(45)),
    }
)
"""Strengths to choose from: one a decade, or the 45 from 1e-6 to 1e5 of SimCLR (Chen et al. 2020, appendix
B.8), where the range is said of the regularisation; here it is of C, as everywhere in scikit-learn."""


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """How features are judged by a linear classifier. `cs` are the inverse regularisation strengths to
    choose from inside the budget, in scikit-learn's sense (they weigh the sum of the losses, so the best one
    moves with the budget: choose per budget). `folds` is how many parts the budget is divided into for it.
    """

    protocol: Literal["linear"] = "linear"
    cs: tuple[float, ...] = C_PATHS["default"]
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

    @property
    def c_path(self) -> str:
        """The name of `cs` in C_PATHS, or "custom"."""
        return next((name for name, cs in C_PATHS.items() if cs == self.cs), "custom")


@dataclass(frozen=True, kw_only=True)
class KnnConfig:
    """How features are judged by their neighbours: `k` nearest labelled images by cosine similarity (all of
    them where the budget is smaller), each with a vote of exp(similarity / temperature).

    k = 200 is Wu et al. 2018 (section 3.4; temperature 0.07); 0.1 is what the kNN monitors of MoCo's CIFAR
    demo and of lightly take.
    """

    protocol: Literal["knn"] = "knn"
    k: int = 200
    temperature: float = 0.1

    def __post_init__(self) -> None:
        _one_of("protocol", self.protocol, ("knn",))
        _require(self.k >= 1, "k", self.k, "at least 1")
        enough = MIN_TEMPERATURE <= self.temperature < math.inf
        _require(enough, "temperature", self.temperature, f"{MIN_TEMPERATURE} or more")


def looks_at(method: str, setting: str) -> bool:
    """Whether a setting can change what a method learns; of an added method nobody knows, so every one."""
    return method not in METHODS or method in USED_BY.get(setting, METHODS)


def default_config(encoder: str, image_size: int, **overrides: Any) -> PretrainConfig:
    """The preset of a method (`method`, SimCLR) and encoder at an image size, with `overrides` of any field.

    SimCLR, also the fields of a random encoder:

    - resnet18, resnet50 up to 64 px: the official CIFAR-10 command of google-research/simclr (LARS, rate
      1.0 per 256, batch 512, temperature 0.5, colour strength 0.5, no blur).
    - above 64 px: its ImageNet recipe (LARS, rate 0.075 per root of the batch, which equals 0.3 per 256 at
      the published batch of 4096 and is the better one below it (table B.1); temperature 0.1, decay 1e-6).
    - resnet-demo: LARS, rate 4.0 per 256, batch 128, temperature 0.2; chosen for a few thousand images and a
      few dozen epochs on a CPU core, where temperatures of 0.5 and SGD learned less or less reliably.

    MoCo v2: SGD at 0.03 per 256, no warm-up, momentum 0.999, queue of 65,536, temperature 0.2 as published;
    up to 64 px decay, temperature, queue and momentum of the official CIFAR-10 demo (its views, linear head
    and split batch norm are not taken). BYOL: LARS, the published rate, decay and momentum of the
    nearest schedule (40, 100, 300, 1000 epochs) that is not longer, asymmetric views above 64 px. Both with
    resnet-demo at higher rates; in 20 epochs of 2,000 images BYOL beat a random encoder on one procedural
    domain of two, MoCo on none, SimCLR clearly. The pretext tasks and supervised training: see
    `ssl_core.presets`. A batch that does not divide a preset's queue takes the default queue.

    Trainings of all encoders but the demo one take bfloat16 autocast where the hardware is faster with it,
    and float32 elsewhere; the losses are in float32 everywhere.

    The warm-up is the reference's 10 epochs, or a tenth of a schedule shorter than 100. TypeError for an
    unknown field, ValueError for a value out of range.
    """
    _one_of("encoder", encoder, ENCODERS)
    fields: dict[str, Any] = {"encoder": encoder, "image_size": image_size}
    method = overrides.get("method", PretrainConfig.method)
    if method not in METHODS and "method_version" not in overrides:
        from ssl_sweep.ssl_core.config.plugins import (
            added_method,  # looking through what is installed takes time
        )

        fields["method_version"] = added_method(method).version
    if encoder != "resnet-demo" and method not in ("random", "weights"):
        fields["precision"] = "bfloat16"
    fields |= method_fields(
        method,
        demo=encoder == "resnet-demo",
        small=image_size <= SMALL_IMAGE,
        size=image_size,
        epochs=overrides.get("epochs", PretrainConfig.epochs),
    )
    if "views" in overrides:
        fields.pop("views2", None)  # the preset's pair is replaced as a whole
    if "queue" not in overrides and fields.get("queue", 0) % overrides.get("batch", fields.get("batch", 1)):
        del fields["queue"]
    return PretrainConfig(**{**fields, **overrides})


def _positive(value: float) -> bool:
    return 0 < value < math.inf


def _one_of(field: str, value: str, names: tuple[str, ...]) -> None:
    if value not in names:
        raise ValueError(f"{field} is {value!r}; use one of {', '.join(names)}")


def _require(condition: bool, field: str, value: object, what: str) -> None:
    if not condition:
        raise ValueError(f"{field} is {value}; use {what}")
