"""What each stage computes, as data: only what changes its result, nothing about where or how fast it runs.

A stage's identity is computed from its spec (see ``identity``). Raise the stage's number in ``VERSIONS`` when
a change of its code changes its results for an unchanged spec.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ssl_sweep.data_ops.sources.registry import Source
from ssl_sweep.ssl_core.config.finetune import FinetuneConfig
from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.config.probe import KnnConfig, ProbeConfig
from ssl_sweep.ssl_core.config.registry import FEATURES
from ssl_sweep.ssl_core.config.registry import UNTRAINED as UNTRAINED

Stage = Literal["prepare", "pretrain", "features", "probe", "finetune"]

STAGES: tuple[Stage, ...] = ("prepare", "pretrain", "features", "probe", "finetune")
VERSIONS: Mapping[Stage, int] = MappingProxyType(
    {"prepare": 1, "pretrain": 1, "features": 1, "probe": 3, "finetune": 1}
)
ANSWERS: tuple[Stage, ...] = ("probe", "finetune")
"""The stages that answer cells: each saves predictions for all test images."""

UNPREPARED = "unprepared:"
"""Prefix that stands for an unknown fingerprint; the id of the prepare stage follows."""


@dataclass(frozen=True)
class PrepareSpec:
    """Decode, resize and index one dataset."""

    source: Source
    size: int
    """Side of an image, in pixels."""
    signature: str
    """Changes whenever the source's files change."""


@dataclass(frozen=True)
class PoolPart:
    """Training images of one dataset: the first ``images`` of a permutation (see
    ``data_ops.dataset.subsets``)."""

    fingerprint: str
    images: int
    subset_seed: int = 0
    """Seed of the permutation, which ``draw`` and ``imbalance`` then arrange."""
    draw: Literal["uniform", "stratified"] = "uniform"
    imbalance: float = 1.0
    avoid: tuple[str, ...] = ()
    """Datasets whose test images are excluded: sorted fingerprints of those that share images with this
    one."""
    labelled: bool = False
    """Use only images that have a label."""


@dataclass(frozen=True)
class PretrainSpec:
    """One encoder."""

    config: PretrainConfig
    parts: tuple[PoolPart, ...]
    """In the order of their fingerprints. For ``method="random"``, the one part is the evaluation domain,
    whose images give the batch-norm statistics."""
    corruption: str = "none"
    corruption_seed: int = 0


@dataclass(frozen=True)
class FeatureSpec:
    """Features of one split of one dataset, corrupted or clean."""

    encoder: str
    """Id of the encoder's pretrain stage."""
    fingerprint: str
    split: Literal["train", "test"]
    corruption: str = "none"
    corruption_seed: int = 0
    representation: str = FEATURES
    """h, g(h) after the projection head, or the output of a block."""


@dataclass(frozen=True)
class ProbeSpec:
    """One evaluation on frozen features: learnt from a label budget, tested on all test images."""

    train_features: tuple[str, ...]
    """Ids of feature stages, one for each encoder whose features are joined; usually one."""
    test_features: tuple[str, ...]
    n_labels: int
    """Training images in the label budget, drawn by ``draw`` and ``seed``."""
    draw: Literal["uniform", "stratified"]
    seed: int
    config: ProbeConfig | KnnConfig
    imbalance: float = 1.0
    level: str = ""
    """Label level that is learnt; "" is the finest."""
    without_copies: bool = False
    """Exclude training images that are also test images from the label budget."""


@dataclass(frozen=True)
class FinetuneSpec:
    """One evaluation by fine-tuning: an encoder and a new classifier are trained end to end on a label
    budget.

    They are tested on all test images, corrupted or clean. With a random encoder this is supervised training
    from scratch. Fields mean the same as in ``ProbeSpec``.
    """

    encoder: str
    """Id of the encoder's pretrain stage."""
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
    """The features that a probe reads: for each encoder, those of the clean training and of the test
    images."""
    return (
        [FeatureSpec(id, fingerprint, "train", representation=representation) for id in encoders],
        [FeatureSpec(id, fingerprint, "test", corruption, representation=representation) for id in encoders],
    )
