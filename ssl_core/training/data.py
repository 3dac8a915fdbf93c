"""What a training learns from: images, keys and labels, whether they fit a config, and the identity of the
training."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_sweep.data_ops.images import ImageArray
from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.distributed import world_size
from ssl_sweep.ssl_core.methods.build import method_class


@dataclasses.dataclass(frozen=True)
class TrainingImages:
    """The images of a training."""

    images: ImageArray
    """(N, S, S, 3) uint8."""
    keys: npt.NDArray[np.uint64]
    """(N,); they seed the augmentation of each image."""
    labels: npt.NDArray[np.int64] | None = None
    """(N,) from 0 to ``n_classes`` - 1; only methods that learn from labels read them."""
    n_classes: int = 0


def check_inputs(config: PretrainConfig, data: TrainingImages) -> None:
    """Check a training before it starts.

    Raises:
        ValueError: Method, batch, workers, images and labels do not fit together.
    """
    method = method_class(config.method)
    if config.views2 is not None and method.n_views != 2:
        raise ValueError(f"views2 is set, but {config.method} takes {method.n_views} view; remove views2")
    if method.labelled:
        _check_labels(config.method, data)
    if config.batch % world_size():
        raise ValueError(
            f"batch {config.batch} cannot be shared equally by {world_size()} workers; "
            "choose a batch that is a multiple of the workers"
        )
    if config.batch // world_size() < 2:
        raise ValueError(
            f"batch {config.batch} gives {world_size()} workers less than 2 images each; use a larger batch"
        )
    if data.images.shape[1:] != (config.image_size, config.image_size, 3) or data.images.dtype != np.uint8:
        raise ValueError(
            f"images are {data.images.dtype} {data.images.shape}, the training needs "
            f"uint8 (N, {config.image_size}, {config.image_size}, 3)"
        )


def _check_labels(method: str, data: TrainingImages) -> None:
    if data.labels is None:
        raise ValueError(f"method {method!r} needs labels; give TrainingImages.labels and n_classes")
    if len(data.labels) != len(data.keys) or data.labels.dtype != np.int64:
        raise ValueError(
            f"labels are {data.labels.dtype} ({len(data.labels)},); "
            f"use int64 ({len(data.keys)},), one per image"
        )
    if not 0 <= data.labels.min() <= data.labels.max() < data.n_classes:
        raise ValueError(
            f"labels go from {data.labels.min()} to {data.labels.max()}; use 0 to n_classes - 1 "
            f"({data.n_classes - 1})"
        )


def schedule(config: PretrainConfig, steps_per_epoch: int) -> tuple[int, int]:
    """Steps of the whole training and of its warm-up.

    They follow from the epochs, or from ``config.steps``, of which the warm-up keeps its share.
    """
    if config.steps:
        return config.steps, round(config.steps * config.warmup_epochs / config.epochs)
    return config.epochs * steps_per_epoch, round(config.warmup_epochs * steps_per_epoch)


def training_identity(config: PretrainConfig, data: TrainingImages) -> dict[str, Any]:
    """What a checkpoint belongs to, as JSON values."""
    facts: dict[str, Any] = {"images": len(data.keys), "keys": _digest(data.keys)}
    if method_class(config.method).labelled and data.labels is not None:
        facts["labels"] = _digest(data.labels)
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))  # tuples to lists
    return {**plain, "data": facts}


def _digest(values: npt.NDArray[Any]) -> str:
    return hashlib.sha256(values.tobytes()).hexdigest()[:16]


def with_neutral_fields(identity: Mapping[str, Any]) -> dict[str, Any]:
    """An identity, with defaults for the config fields that were added after it was written."""
    fields = dataclasses.fields(PretrainConfig)
    neutral = {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
    return {**neutral, **identity}
