"""Published settings of each method, as fields of ``PretrainConfig``. No torch here.

``config.registry`` names the preset of each method.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ssl_sweep.data_ops.views.named_policies import named_policy
from ssl_sweep.data_ops.views.policy import ViewPolicy

Fields = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Regime:
    """What a preset depends on."""

    demo: bool
    """The encoder is ``resnet-demo``."""
    small: bool
    """Images have up to ``registry.SMALL_IMAGE`` pixels a side."""
    size: int
    """Side of the images in pixels."""
    epochs: int

    @property
    def warmup(self) -> Fields:
        """The reference's 10 epochs, or a tenth of a schedule shorter than 100."""
        return {"warmup_epochs": min(10.0, self.epochs / 10)}

    def policy(self, name: str) -> ViewPolicy:
        """A named policy of one view."""
        (policy,) = named_policy(name, self.size)
        return policy


Preset = Callable[[Regime], Fields]
"""Gives the fields that differ from ``PretrainConfig``'s defaults, always with ``views``."""

# BYOL by schedule (google-deepmind/byol): base rate, weight decay and momentum from this many epochs on.
_BYOL = ((1000, 0.2, 1.5e-6, 0.996), (300, 0.3, 1e-6, 0.99), (100, 0.45, 1e-6, 0.99), (0, 0.45, 1e-6, 0.97))


def simclr(regime: Regime) -> Fields:
    """SimCLR (Chen et al. 2020); also for methods of other distributions."""
    fields: Fields = regime.warmup | {"views": regime.policy("simclr")}
    if regime.demo:
        return fields | {"learning_rate": 4.0, "temperature": 0.2, "batch": 128, "head_dim": 64}
    if regime.small:
        return fields | {"batch": 512}
    large: Fields = {"batch": 4096, "learning_rate": 0.075, "lr_scaling": "sqrt"}
    return fields | large | {"temperature": 0.1, "weight_decay": 1e-6}


def moco(regime: Regime) -> Fields:
    """MoCo v2 (Chen, Fan et al. 2020)."""
    sgd: Fields = {"optimizer": "sgd", "learning_rate": 0.03, "warmup_epochs": 0.0, "momentum_encoder": 0.999}
    if regime.demo:
        short: Fields = {"batch": 128, "temperature": 0.2, "head_dim": 64, "momentum_encoder": 0.99}
        return sgd | short | {"learning_rate": 0.5, "views": regime.policy("simclr")}
    if regime.small:  # numbers of the official CIFAR-10 demo, without its views, head and batch norm
        cifar: Fields = {"batch": 512, "temperature": 0.1, "weight_decay": 5e-4, "queue": 4096}
        return sgd | cifar | {"momentum_encoder": 0.99, "views": regime.policy("simclr")}
    return sgd | {"batch": 256, "temperature": 0.2, "views": regime.policy("moco-v2")}


def byol(regime: Regime) -> Fields:
    """BYOL (Grill et al. 2020)."""
    _, rate, decay, momentum = next(row for row in _BYOL if regime.epochs >= row[0])
    fields: Fields = {"learning_rate": rate, "weight_decay": decay, "momentum_encoder": momentum}
    fields |= regime.warmup
    if regime.demo:
        fields |= {"learning_rate": 2.0, "batch": 128, "head_dim": 64}
    else:
        fields |= {"batch": 512 if regime.small else 4096, "head_dim": 256}
    if regime.small:
        return fields | {"views": regime.policy("simclr")}
    first, second = named_policy("byol", regime.size)
    return fields | {"views": first, "views2": second}


def rotation(regime: Regime) -> Fields:
    """RotNet (Gidaris et al. 2018): SGD at 0.1 for 128 images, each in all four rotations."""
    fields: Fields = {"optimizer": "sgd", "learning_rate": 0.2, "weight_decay": 5e-4, "batch": 128}
    return fields | {"warmup_epochs": 0.0, "views": regime.policy("supervised")}


def jigsaw(regime: Regime) -> Fields:
    """Jigsaw puzzles (Noroozi & Favaro 2016)."""
    fields: Fields = {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 5e-4, "batch": 128}
    return fields | {"warmup_epochs": 0.0, "views": regime.policy("supervised")}


def inpainting(regime: Regime) -> Fields:
    """Context encoders (Pathak et al. 2016)."""
    fields: Fields = {"optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 1e-4, "batch": 128}
    return fields | {"warmup_epochs": 0.0, "views": regime.policy("supervised")}


def supervised(regime: Regime) -> Fields:
    """Cross entropy on the labels."""
    fields: Fields = {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 5e-4, "batch": 128}
    return regime.warmup | fields | {"views": regime.policy("supervised")}
