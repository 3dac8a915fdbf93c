"""The small fine-tuning that several test files run; as a script, one process of it, to be killed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl_sweep.data_ops.hashing import hash64
from ssl_sweep.ssl_core.config.finetune import FinetuneConfig, default_finetune
from ssl_sweep.ssl_core.encoders.base import Encoder
from ssl_sweep.ssl_core.encoders.build import build_encoder, torch_seed
from ssl_sweep.ssl_core.evaluation import finetune as module
from ssl_sweep.ssl_core.evaluation.finetune import FinetuneFit, LabelBudget, Supervision, finetune
from ssl_sweep.ssl_core.evaluation.metrics import score

SIZE, CLASSES = 16, 4


def images_of(labels: np.ndarray, seed: int) -> np.ndarray:
    """Each class its own coarse pattern under noise."""
    patterns = np.random.default_rng(99).integers(0, 256, (CLASSES, 4, 4, 3))
    noise = np.random.default_rng(seed).integers(0, 256, (len(labels), 4, 4, 3))
    mixed = (patterns[labels] * 0.6 + noise * 0.4).astype(np.uint8)
    return mixed.repeat(SIZE // 4, axis=1).repeat(SIZE // 4, axis=2)


def budget_of(n: int, classes=range(CLASSES), seed: int = 0) -> LabelBudget:
    labels = np.resize(np.array(list(classes), dtype=np.int64), n)
    return LabelBudget(images=images_of(labels, seed), keys=hash64(seed, np.arange(n)), labels=labels)


TEST_LABELS = np.arange(80) % CLASSES
TEST_IMAGES = images_of(TEST_LABELS, 7)


def random_start(seed: int) -> Encoder:
    with torch_seed(seed):
        return build_encoder("resnet-demo", SIZE)


def config_of(**overrides) -> FinetuneConfig:
    return default_finetune("resnet-demo", SIZE, **{"steps": 20, "batch": 24, **overrides})


def fit(budget: LabelBudget, test_images=TEST_IMAGES, **overrides) -> FinetuneFit:
    options = {"seed": 0, "config": config_of(), "encoder": random_start(0)}
    options |= overrides
    encoder = options.pop("encoder")
    return finetune(encoder, budget, test_images, n_classes=CLASSES, **options)


def top1(found: FinetuneFit) -> float:
    return score(TEST_LABELS, found.top5, CLASSES)["top1"]


def same(a: FinetuneFit, b: FinetuneFit) -> bool:
    return np.array_equal(a.top5, b.top5) and a.held_out == b.held_out and a.learning_rate == b.learning_rate


def logits_of(budget: LabelBudget, monkeypatch: Any, **overrides: Any) -> np.ndarray:
    kept: list[np.ndarray] = []
    rank = module.rank_classes
    monkeypatch.setattr(module, "rank_classes", lambda s, classes: (kept.append(s), rank(s, classes))[1])
    fit(budget, **overrides)
    return kept[0]


RESUMED = {"n": 24, "steps": 12}
"""The fine-tuning that is interrupted: 3 rates x 3 folds and the final fit, 12 steps each."""


def resumed_logits(folder: Path, monkeypatch: Any, **watched: Any) -> np.ndarray:
    """Of that fine-tuning, from what `folder` holds."""
    config = config_of(steps=RESUMED["steps"], batch=8)
    supervision = Supervision(folder=folder, **watched)
    return logits_of(budget_of(RESUMED["n"]), monkeypatch, config=config, watched=supervision)


if __name__ == "__main__":
    torch.set_num_threads(1)
    module._LOOK_EVERY_S = 0.0
    supervision = Supervision(folder=Path(sys.argv[1]), checkpoint_every_s=0.0)
    fit(budget_of(RESUMED["n"]), config=config_of(steps=RESUMED["steps"], batch=8), watched=supervision)
