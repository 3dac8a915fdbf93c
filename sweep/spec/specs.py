"""What each stage computes, as data: only what changes its result, nothing about where or how fast it runs.

A stage's identity is made from its spec (see `identity.py`). Raise the stage's number in `VERSIONS` when
its code changes the numbers it gives for an unchanged spec.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ssl_sweep.data_ops.sources.registry import Source
from ssl_sweep.ssl_core.config.finetune import FinetuneConfig
from ssl_sweep.ssl_core.config.pretrain import FEATURES, KnnConfig, PretrainConfig, ProbeConfig

Stage = Literal["prepare", "pretrain", "features", "probe", "finetune"]

STAGES: tuple[Stage, ...] = ("prepare", "pretrain", "features", "probe", "finetune")
VERSIONS: Mapping[Stage, int] = MappingProxyType(
    {"prepare": 1, "pretrain": 1, "features": 1, "probe": 3, "finetune": 1}
)
ANSWERS: tuple[Stage, ...] = ("probe", "finetune")
"""The stages that answer cells: each leaves predictions of all test images."""

UNTRAINED = frozenset({"random", "weights"})
"""Methods whose encoder is there without a training: random, or given."""

UNPREPARED = "unprepared:"
"""Prefix of a fingerprint that is not known yet; the id of the prepare stage follows."""


@dataclass(frozen=True)
class PrepareSpec:
    """Decode, resize and index one dataset. `size` in pixels; `signature` changes when its files do."""

    source: Source
    size: int
    signature: str


@dataclass(frozen=True)
class PoolPart:
    """`images` training images of one dataset: the first of the permutation of `subset_seed`, arranged by
    `draw` and `imbalance` (see `data_ops.subsets`), without the test images of the datasets in `avoid`
    (fingerprints, sorted; only those that share images with this one). `labelled`: only images that have a
    label."""

    fingerprint: str
    images: int
    subset_seed: int = 0
    draw: Literal["uniform", "stratified"] = "uniform"
    imbalance: float = 1.0
    avoid: tuple[str, ...] = ()
    labelled: bool = False


@dataclass(frozen=True)
class PretrainSpec:
    """One encoder. For `method="random"` the one part is the evaluation domain, which gives the
    batch-norm statistics. Parts are in the order of their fingerprints."""

    config: PretrainConfig
    parts: tuple[PoolPart, ...]
    corruption: str = "none"
    corruption_seed: int = 0


@dataclass(frozen=True)
class FeatureSpec:
    """Features of one split of one dataset, corrupted or clean, under the encoder of a pretrain stage: its
    `representation` h, g(h) after the projection head, or a block's output."""

    encoder: str
    fingerprint: str
    split: Literal["train", "test"]
    corruption: str = "none"
    corruption_seed: int = 0
    representation: str = FEATURES


@dataclass(frozen=True)
class ProbeSpec:
    """One evaluation: `n_labels` training images drawn by `draw` and `seed`, tested on all test images.

    `train_features` and `test_features` are feature stages, one each for every encoder whose features are
    joined, usually one. `level` has the labels that are learnt, "" for the finest. `without_copies`: training
    images that are test images too are in no draw."""

    train_features: tuple[str, ...]
    test_features: tuple[str, ...]
    n_labels: int
    draw: Literal["uniform", "stratified"]
    seed: int
    config: ProbeConfig | KnnConfig
    imbalance: float = 1.0
    level: str = ""
    without_copies: bool = False


@dataclass(frozen=True)
class FinetuneSpec:
    """One evaluation by training on: the encoder of a pretrain stage and a new classifier, end to end, on
    `n_labels` images drawn as a probe's; tested on all test images, corrupted or clean. On a random encoder
    this is supervised training from scratch."""

    encoder: str
    fingerprint: str
    n_labels: int
    draw: Literal["uniform", "stratified"]
    seed: int
    config: FinetuneConfig
    imbalance: float = 1.0
    corruption: str = "none"
    corruption_seed: int = 0
    level: str = ""
    without_copies: bool = False


Answer = ProbeSpec | FinetuneSpec
Spec = PrepareSpec | PretrainSpec | FeatureSpec | ProbeSpec | FinetuneSpec


def feature_specs(
    encoders: Sequence[str], fingerprint: str, corruption: str, representation: str
) -> tuple[list[FeatureSpec], list[FeatureSpec]]:
    """What a probe reads of each encoder: features of the clean training images and of the test images."""
    return (
        [FeatureSpec(id, fingerprint, "train", representation=representation) for id in encoders],
        [FeatureSpec(id, fingerprint, "test", corruption, representation=representation) for id in encoders],
    )
