"""Published settings of each method, as fields of PretrainConfig. No torch here."""

from __future__ import annotations

from typing import Any

from ssl_sweep.data_ops.views.named_policies import named_policy

Fields = dict[str, Any]
# BYOL's by schedule (config of google-deepmind/byol): from this many epochs on, base rate, decay, momentum.
_BYOL = ((1000, 0.2, 1.5e-6, 0.996), (300, 0.3, 1e-6, 0.99), (100, 0.45, 1e-6, 0.99), (0, 0.45, 1e-6, 0.97))


def method_fields(method: str, *, demo: bool, small: bool, size: int, epochs: int) -> Fields:
    """What differs from PretrainConfig's defaults; `demo` for the demo encoder, `small` up to 64 px. The
    warm-up is among them, views always are."""
    warmup = {"warmup_epochs": min(10.0, epochs / 10)}
    if method == "moco-v2":
        return _moco(demo, small, size)
    if method == "byol":
        return warmup | _byol(demo, small, size, epochs)
    if method == "rotation":
        return _rotation(demo, size)
    if method == "jigsaw":
        return _jigsaw(demo, size)
    if method == "inpainting":
        return _inpainting(demo, size)
    if method == "supervised":
        return warmup | _supervised(demo, size)
    return warmup | _simclr(demo, small, size)


def _simclr(demo: bool, small: bool, size: int) -> Fields:
    views: Fields = {"views": _one_policy("simclr", size)}
    if demo:
        return views | {"learning_rate": 4.0, "temperature": 0.2, "batch": 128, "head_dim": 64}
    if small:
        return views | {"batch": 512}
    large: Fields = {"batch": 4096, "learning_rate": 0.075, "lr_scaling": "sqrt"}
    return views | large | {"temperature": 0.1, "weight_decay": 1e-6}


def _moco(demo: bool, small: bool, size: int) -> Fields:
    sgd: Fields = {"optimizer": "sgd", "learning_rate": 0.03, "warmup_epochs": 0.0, "momentum_encoder": 0.999}
    if demo:
        short: Fields = {"batch": 128, "temperature": 0.2, "head_dim": 64, "momentum_encoder": 0.99}
        return sgd | short | {"learning_rate": 0.5, "views": _one_policy("simclr", size)}
    if small:  # numbers of the official CIFAR-10 demo; views, head and batch norm are not its
        cifar: Fields = {"batch": 512, "temperature": 0.1, "weight_decay": 5e-4, "queue": 4096}
        return sgd | cifar | {"momentum_encoder": 0.99, "views": _one_policy("simclr", size)}
    return sgd | {"batch": 256, "temperature": 0.2, "views": _one_policy("moco-v2", size)}


def _byol(demo: bool, small: bool, size: int, epochs: int) -> Fields:
    _, rate, decay, momentum = next(row for row in _BYOL if epochs >= row[0])
    fields: Fields = {"learning_rate": rate, "weight_decay": decay, "momentum_encoder": momentum}
    if demo:
        fields |= {"learning_rate": 2.0, "batch": 128, "head_dim": 64}
    else:
        fields |= {"batch": 512 if small else 4096, "head_dim": 256}
    if small:
        return fields | {"views": _one_policy("simclr", size)}
    first, second = named_policy("byol", size)
    return fields | {"views": first, "views2": second}


def _rotation(demo: bool, size: int) -> Fields:
    """RotNet (Gidaris et al. 2018): SGD at 0.1 for 128 images, each in all four rotations."""
    fields: Fields = {"optimizer": "sgd", "learning_rate": 0.2, "weight_decay": 5e-4, "batch": 128}
    return fields | {"warmup_epochs": 0.0, "views": _one_policy("supervised", size)}


def _jigsaw(demo: bool, size: int) -> Fields:
    fields: Fields = {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 5e-4, "batch": 128}
    return fields | {"warmup_epochs": 0.0, "views": _one_policy("supervised", size)}


def _inpainting(demo: bool, size: int) -> Fields:
    fields: Fields = {"optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 1e-4, "batch": 128}
    return fields | {"warmup_epochs": 0.0, "views": _one_policy("supervised", size)}


def _supervised(demo: bool, size: int) -> Fields:
    fields: Fields = {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 5e-4, "batch": 128}
    return fields | {"views": _one_policy("supervised", size)}


def _one_policy(name: str, size: int) -> Any:
    (policy,) = named_policy(name, size)
    return policy
