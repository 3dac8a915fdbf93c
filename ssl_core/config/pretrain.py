"""What a pretraining is, as data. No torch here: planning ten thousand cells must stay light."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from ssl_sweep.data_ops.views.policy import ViewPolicy
from ssl_sweep.ssl_core.config import presets
from ssl_sweep.ssl_core.config.checks import one_of, positive, require
from ssl_sweep.ssl_core.config.registry import ENCODERS, METHODS, SMALL_IMAGE


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """One pretraining; ``default_config`` makes one.

    There is no gradient accumulation: a loss over a batch of pairs is not a sum over parts of the batch.

    Raises:
        ValueError: A field is out of range; the message names it, its value and what to use.
    """

    method: str = "simclr"
    encoder: str = "resnet-demo"
    image_size: int = 32
    """Side of the images in pixels."""
    epochs: int = 100
    batch: int = 256
    """The global batch in images, whatever the number of workers."""
    seed: int = 0
    optimizer: Literal["lars", "sgd", "adamw"] = "lars"
    learning_rate: float = 1.0
    """The base rate; ``peak_learning_rate`` scales it with the batch."""
    lr_scaling: Literal["linear", "sqrt"] = "linear"
    warmup_epochs: float = 10.0
    """May be a fraction."""
    weight_decay: float = 1e-4
    temperature: float = 0.5
    head_layers: int = 2
    """Layers of the projection head; 0 compares the features themselves."""
    head_dim: int = 128
    views: ViewPolicy
    precision: Literal["float32", "bfloat16"] = "float32"
    """``bfloat16`` is autocast, used only if the hardware is faster with it."""
    views2: ViewPolicy | None = None
    """Policy of the second view if it differs (BYOL). None: that of ``views``."""
    steps: int = 0
    """Optimisation steps, if they are held constant instead of the epochs. The epochs then follow from the
    number of images, and the warm-up keeps its share of the schedule, ``warmup_epochs / epochs``."""
    momentum: float = 0.9
    """Momentum of the optimiser."""
    momentum_encoder: float = 0.0
    """Share of the slow copy that one step keeps (MoCo; BYOL at the start). 0: the method's own."""
    queue: int = 0
    """Keys in MoCo's queue. 0: 65,536. Never more than the training images."""
    predictor_dim: int = 0
    """Width of BYOL's hidden layers. 0: in proportion to the features."""
    grad_clip: float = 0.0
    """Largest norm of the whole gradient. 0: no clipping."""
    lars_form: Literal["official", "you2017"] = "official"
    """Divisor of the trust ratio: the norm of gradient plus decay (official), or the sum of both norms (You
    et al. 2017)."""
    weights: str = ""
    """Which weights method ``weights`` takes: a file, or torchvision's name of published ones."""
    method_version: str = ""
    """Distribution and version of a method that is not built in: a changed method is another training."""
    encoder_version: str = ""
    """The same of an encoder that is not built in."""

    def __post_init__(self) -> None:
        if not self.method_version:
            one_of("method", self.method, METHODS)
        if not self.encoder_version:
            one_of("encoder", self.encoder, ENCODERS)
        one_of("optimizer", self.optimizer, ("lars", "sgd", "adamw"))
        one_of("lars_form", self.lars_form, ("official", "you2017"))
        one_of("lr_scaling", self.lr_scaling, ("linear", "sqrt"))
        one_of("precision", self.precision, ("float32", "bfloat16"))
        require(self.image_size >= 8, "image_size", self.image_size, "at least 8 pixels")
        if self.encoder in ENCODERS:
            patch = ENCODERS[self.encoder].patch(self.image_size)
            multiple = f"a multiple of {patch}: {self.encoder} cuts images into patches of {patch} px"
            require(self.image_size % patch == 0, "image_size", self.image_size, multiple)
        require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        require(self.batch >= 2, "batch", self.batch, "at least 2, so that there is a negative")
        require(0 <= self.seed < 2**63, "seed", self.seed, "0 to 2**63 - 1")
        require(positive(self.learning_rate), "learning_rate", self.learning_rate, "a number above 0")
        require(
            0 <= self.warmup_epochs < self.epochs, "warmup_epochs", self.warmup_epochs, "0 to below `epochs`"
        )
        require(0 <= self.weight_decay < math.inf, "weight_decay", self.weight_decay, "0 or more")
        require(positive(self.temperature), "temperature", self.temperature, "a number above 0")
        require(0 <= self.head_layers <= 3, "head_layers", self.head_layers, "0, 1, 2 or 3")
        require(self.head_dim >= 1, "head_dim", self.head_dim, "at least 1")
        for field, policy in (("views", self.views), ("views2", self.views2)):
            fits = policy is None or policy.size == self.image_size
            size = policy.size if policy is not None else 0
            require(fits, f"{field}.size", size, f"{self.image_size} (image_size)")
        require(self.steps >= 0, "steps", self.steps, "the steps, or 0 to count in epochs")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "0 to below 1")
        in_range = 0 <= self.momentum_encoder <= 1
        require(in_range, "momentum_encoder", self.momentum_encoder, "0 (the method's own) to 1")
        whole = self.queue >= 0 and self.queue % self.batch == 0
        require(whole, "queue", self.queue, f"a multiple of batch ({self.batch}), or 0 for the default")
        require(self.predictor_dim >= 0, "predictor_dim", self.predictor_dim, "a width, or 0 for the default")
        require(0 <= self.grad_clip < math.inf, "grad_clip", self.grad_clip, "a norm, or 0 for no bound")

    def total_steps(self, images: int) -> int:
        """Optimisation steps of a training on this many images."""
        return self.steps or self.epochs * (images // self.batch)

    @property
    def peak_learning_rate(self) -> float:
        """Base rate times batch / 256 (linear) or the square root of the batch (SimCLR, table B.1)."""
        return self.learning_rate * (
            self.batch / 256 if self.lr_scaling == "linear" else math.sqrt(self.batch)
        )


def default_config(encoder: str, image_size: int, **overrides: Any) -> PretrainConfig:
    """The preset of a method (``method``, default SimCLR) and an encoder at an image size.

    SimCLR, and the fields of a random encoder:

    - ResNets and ViTs up to 64 px: the official CIFAR-10 command of google-research/simclr (LARS, rate
      1.0 per 256, batch 512, temperature 0.5, colour strength 0.5, no blur).
    - above 64 px: its ImageNet recipe (LARS, rate 0.075 per root of the batch, which equals 0.3 per 256 at
      the published batch of 4096 and is the better one below it (table B.1); temperature 0.1, decay 1e-6).
    - ``resnet-demo``: LARS, rate 4.0 per 256, batch 128, temperature 0.2; chosen for a few thousand images
      and a few dozen epochs on a CPU core. There, temperatures of 0.5 and SGD learned less or less reliably.

    MoCo v2: SGD at 0.03 per 256, no warm-up, momentum 0.999, queue of 65,536, temperature 0.2, as published;
    up to 64 px decay, temperature, queue and momentum of the official CIFAR-10 demo, without its views,
    linear head and split batch norm. BYOL: LARS, the published rate, decay and momentum of the nearest
    schedule (40, 100, 300, 1000 epochs) that is not longer, asymmetric views above 64 px. Both use higher
    rates with ``resnet-demo``; in 20 epochs of 2,000 images BYOL beat a random encoder on one of two
    procedural domains and MoCo on neither; SimCLR did so clearly. For the pretext tasks and supervised
    training see ``config.presets``.

    All encoders but the demo one train with bfloat16 autocast if the hardware is faster with it, else in
    float32; the losses are always in float32. The warm-up is the reference's 10 epochs, or a tenth of a
    schedule shorter than 100.

    Args:
        encoder: A name of ``registry.ENCODERS``, or of an added encoder.
        image_size: Side of the images in pixels.
        overrides: Values of any other field. A batch that does not divide the preset's queue takes the
            default queue.

    Raises:
        TypeError: A field is unknown.
        ValueError: A value is out of range.
    """
    demo = encoder == "resnet-demo"
    fields: dict[str, Any] = {"encoder": encoder, "image_size": image_size}
    method = overrides.get("method", PretrainConfig.method)
    info = METHODS.get(method)
    if info is None or encoder not in ENCODERS:
        from ssl_sweep.ssl_core.config.plugins import version_of  # slow: searches the installed packages

        fields["method_version"] = overrides.get("method_version") or version_of("method", method)
        fields["encoder_version"] = overrides.get("encoder_version") or version_of("encoder", encoder)
    if not demo and (info is None or info.target):
        fields["precision"] = "bfloat16"
    epochs = overrides.get("epochs", PretrainConfig.epochs)
    regime = presets.Regime(demo=demo, small=image_size <= SMALL_IMAGE, size=image_size, epochs=epochs)
    fields |= (info.preset if info else presets.simclr)(regime)
    if "views" in overrides:
        fields.pop("views2", None)  # the preset's pair is replaced as a whole
    if "queue" not in overrides and fields.get("queue", 0) % overrides.get("batch", fields.get("batch", 1)):
        del fields["queue"]
    return PretrainConfig(**{**fields, **overrides})
