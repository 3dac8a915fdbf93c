"""The small training that several test files and their processes run; as a script, one (to be killed)
process of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from data_ops.hashing import hash64
from ssl_core.config import PretrainConfig, default_config
from ssl_core.reporter import LocalReporter
from ssl_core.trainer import TrainingImages, TrainSummary, pretrain

SIZE = 16


def blobs(n: int, size: int = SIZE, seed: int = 0) -> TrainingImages:
    """Smooth random images: enough structure for views of one to be told from those of another."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)
    return TrainingImages(
        coarse.repeat(size // 4, axis=1).repeat(size // 4, axis=2), hash64(seed, np.arange(n))
    )


def small_config(**overrides: Any) -> PretrainConfig:
    return default_config("resnet-demo", SIZE, **{"epochs": 4, "batch": 16, **overrides})


def calm_config() -> PretrainConfig:
    """20 steps, each an epoch of its own, so that the records hold every step's loss. At rates that suit a
    short run rounding differences grow tenfold a step; these are low enough to compare two ways to the
    same curve."""
    return small_config(epochs=20, batch=32, optimizer="sgd", learning_rate=0.1, temperature=0.5)


def train(folder: Path, config: PretrainConfig, images: int = 56, **overrides: Any) -> TrainSummary:
    """3 steps an epoch, 8 images left over."""
    reporter = overrides.pop("reporter", None) or LocalReporter(folder)
    return pretrain(config, blobs(images), folder, reporter, threads=1, **overrides)


if __name__ == "__main__":
    train(Path(sys.argv[1]), small_config(epochs=int(sys.argv[2])), checkpoint_every_s=0.05)
