"""What each stage computes, as data: only what changes its result, nothing about where or how fast it runs.

A stage's identity is computed from its spec (see ``identity``). Raise the stage's number in ``VERSIONS`` when
a change of its code changes its results for an unchanged spec.

Images and labels are in an identity by their digests (see ``data_ops.dataset.digests``). Fields declared with
``_found`` only say how to find them: they are kept in the manifest and are in no identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from ssl_sweep.data_ops.dataset.prepared import FIRST_RULE
from ssl_sweep.data_ops.sources.registry import Source
from ssl_sweep.ssl_core.config.finetune import FinetuneConfig
from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.config.probe import FeatureSettings
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
"""Prefix that stands for an unknown fingerprint or digest; the id of the prepare stage follows."""


def _found(default: Any = MISSING) -> Any:
    """A field that says how to find images and labels, which are in the identity by their digests."""
    return field(default=default, metadata={"identity": False})


@dataclass(frozen=True)
class PrepareSpec:
    """Decode, resize and index one dataset."""

    TAG: ClassVar[str] = "PrepareSpec"
    source: Source
    size: int
    """Side of an image, in pixels."""
    signature: str
    """Changes whenever the source's files change."""


@dataclass(frozen=True)
class PoolPart:
    """How to find the training images of one dataset: the first ``images`` of a permutation (see
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
    images: str
    """Digest of the training images, whatever datasets they are in; "" for given weights. A random encoder
    takes its batch-norm statistics from them."""
    labels: str = ""
    """Digest of the classes of these images; "" for a method that does not read labels."""
    pixels: str = FIRST_RULE
    """How the source images became pixels."""
    corruption: str = "none"
    corruption_seed: int = 0
    parts: tuple[PoolPart, ...] = _found(())
    """Where the images are, in the order of their smallest keys."""


@dataclass(frozen=True)
class FeatureSpec:
    """Features of one split of one dataset, corrupted or clean."""

    encoder: str
    """Id of the encoder's pretrain stage."""
    images: str
    """Digest of the images of the split."""
    pixels: str = FIRST_RULE
    corruption: str = "none"
    corruption_seed: int = 0
    representation: str = FEATURES
    """h, g(h) after the projection head, or the output of a block."""
    fingerprint: str = _found("")
    split: Literal["train", "test"] = _found("train")


@dataclass(frozen=True)
class ProbeSpec:
    """One evaluation on frozen features: learnt from a label budget, tested on all test images."""

    train_features: tuple[str, ...]
    """Ids of feature stages, one for each encoder whose features are joined; usually one."""
    test_features: tuple[str, ...]
    labels: str
    """Digest of the label budget and of the test images, by class, at every level that is judged."""
    seed: int
    """Seed of the folds, and of the draw."""
    config: FeatureSettings
    fingerprint: str = _found("")
    n_labels: int = _found(0)
    """Training images in the label budget, drawn by ``draw`` and ``seed``."""
    draw: Literal["uniform", "stratified"] = _found("uniform")
    imbalance: float = _found(1.0)
    level: str = _found("")
    """Label level that is learnt; "" is the finest."""
    without_copies: bool = _found(False)
    """Exclude training images that are also test images from the label budget."""


@dataclass(frozen=True)
class FinetuneSpec:
    """One evaluation by fine-tuning: an encoder and a new classifier are trained end to end on a label
    budget.

    They are tested on all test images, corrupted or clean. With a random encoder this is supervised training
    from scratch. Fields mean the same as in ``ProbeSpec`` and ``FeatureSpec``.
    """

    encoder: str
    """Id of the encoder's pretrain stage."""
    labels: str
    seed: int
    config: FinetuneConfig
    pixels: str = FIRST_RULE
    corruption: str = "none"
    corruption_seed: int = 0
    fingerprint: str = _found("")
    n_labels: int = _found(0)
    draw: Literal["uniform", "stratified"] = _found("uniform")
    imbalance: float = _found(1.0)
    level: str = _found("")
    without_copies: bool = _found(False)


Answer = ProbeSpec | FinetuneSpec
Spec = PrepareSpec | PretrainSpec | FeatureSpec | ProbeSpec | FinetuneSpec
SPECS: Mapping[Stage, type[Spec]] = MappingProxyType(
    {
        "prepare": PrepareSpec,
        "pretrain": PretrainSpec,
        "features": FeatureSpec,
        "probe": ProbeSpec,
        "finetune": FinetuneSpec,
    }
)
