"""The small training that several test files and their processes run; as a script, one (to be killed)
process of it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from ssl_sweep.data_ops.hashing import hash64
from ssl_sweep.ssl_core.config.pretrain import PretrainConfig, default_config
from ssl_sweep.ssl_core.training.data import TrainingImages
from ssl_sweep.ssl_core.training.reporter import LocalReporter
from ssl_sweep.ssl_core.training.trainer import RuntimeOptions, TrainSummary, pretrain

SIZE = 16
CURVES = ("simclr", "moco-v2", "byol", "jigsaw")
"""Methods that need the others' images, or draw numbers of their own for each image."""


def blobs(n: int, size: int = SIZE, seed: int = 0) -> TrainingImages:
    """Smooth random images: enough structure for views of one to be told from those of another."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)
    images = coarse.repeat(size // 4, axis=1).repeat(size // 4, axis=2)
    return TrainingImages(images, hash64(seed, np.arange(n)), labels=np.arange(n) % 4, n_classes=4)


def small_config(**overrides: Any) -> PretrainConfig:
    return default_config("resnet-demo", SIZE, **{"epochs": 4, "batch": 16, **overrides})


def calm_config(**overrides: Any) -> PretrainConfig:
    """20 steps, each an epoch of its own, so that the records hold every step's loss. At rates that suit a
    short run rounding differences grow tenfold a step; these are low enough to compare two ways to the
    same curve."""
    calm = {"epochs": 20, "batch": 32, "optimizer": "sgd", "learning_rate": 0.1, "temperature": 0.5}
    return small_config(**{**calm, **overrides})


def train(folder: Path, config: PretrainConfig, images: int = 56, **overrides: Any) -> TrainSummary:
    """3 steps an epoch, 8 images left over."""
    reporter = overrides.pop("reporter", None) or LocalReporter(folder)
    return pretrain(config, blobs(images), folder, reporter, RuntimeOptions(threads=1, **overrides))


TIMINGS = ("images_per_s", "seconds")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "encoder.safetensors")


def records(folder: Path) -> list[dict[str, float]]:
    path = folder / "epochs.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [{k: v for k, v in line.items() if k not in TIMINGS} for line in lines]


def assert_same_training(found: Path, expected: Path) -> None:
    assert records(found) == records(expected)
    ours, theirs = weights(found), weights(expected)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


if __name__ == "__main__":
    train(Path(sys.argv[1]), small_config(epochs=int(sys.argv[2])), checkpoint_every_s=0.05)


class Evil:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return (os.mkdir, ("executed",))
