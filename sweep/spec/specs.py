"""What each stage computes, as data: only what changes its result, nothing about where or how fast it runs.

A stage's identity is computed from its spec (see ``identity``). Everything else that is known of a kind of
stage without a store is declared on its spec.

Images and labels are in an identity by their digests (see ``data_ops.dataset.digests``). Fields declared with
``_found`` only say how to find them: they are kept in the manifest and are in no identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from ssl_sweep.data_ops.dataset.prepared import FIRST_RULE, MANIFEST, SPLITS
from ssl_sweep.data_ops.sources.registry import Source
from ssl_sweep.ssl_core.config.finetune import FinetuneConfig
from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.config.probe import FeatureSettings
from ssl_sweep.ssl_core.config.registry import FEATURES, METHODS, UNTRAINED

Stage = Literal["prepare", "pretrain", "features", "probe", "finetune"]

UNPREPARED = "unprepared:"
"""Prefix that stands for an unknown fingerprint or digest; the id of the prepare stage follows."""


def _found(default: Any = MISSING) -> Any:
    """A field that says how to find images and labels, which are in the identity by their digests."""
    return field(default=default, metadata={"identity": False})


def dataset_files(*arrays: str) -> tuple[str, ...]:
    """The description of a prepared dataset and, for both splits, some of its ``arrays``: "" for the images,
    "ids", "keys", "labels"."""
    parts = [f"_{array}" if array else "" for array in arrays]
    return (f"data/{MANIFEST}", *(f"data/{split}{part}.npy" for split in SPLITS for part in parts))


class StageSpec:
    """What every kind of stage declares: one subclass each, a frozen dataclass of what changes its result."""

    STAGE: ClassVar[Stage]
    """Its name."""
    VERSION: ClassVar[int] = 1
    """Raise it when a change of the code changes results for an unchanged spec."""
    FILES: ClassVar[tuple[str, ...]] = ()
    """Files inside the stage's folder that every result has."""
    SOMETIMES: ClassVar[tuple[str, ...]] = ()
    """Files that only some results have."""
    ANSWERS: ClassVar[bool] = False
    """Whether it answers cells: it saves predictions for all test images."""

    @property
    def trains(self) -> bool:
        """Whether it is a training, which runs alone and resumes from checkpoints."""
        return False

    @property
    def reads(self) -> tuple[str, ...]:
        """Ids of the stages that it reads, except prepared datasets."""
        return ()

    @property
    def shares(self) -> tuple[str, ...]:
        """Names of its input. Light stages of one kind with equal names are one piece of work, which loads
        its input once: both splits of a dataset under one encoder, and the probes of one pair of features."""
        return self.reads

    def describe(self) -> str:
        """What it does, and what its identity is made of."""
        raise NotImplementedError


@dataclass(frozen=True)
class PrepareSpec(StageSpec):
    """Decode, resize and index one dataset."""

    STAGE = "prepare"
    FILES = dataset_files("", "ids", "keys", "labels")
    SOMETIMES = ("data/train_groups.npy", "data/test_groups.npy")
    TAG: ClassVar[str] = "PrepareSpec"
    source: Source
    size: int
    """Side of an image, in pixels."""
    signature: str
    """Changes whenever the source's files change."""

    def describe(self) -> str:
        kind = type(self.source).__name__.removesuffix("Source")
        return f"the images of a {kind} source, decoded and indexed at {self.size} pixels"


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
class PretrainSpec(StageSpec):
    """One encoder."""

    STAGE = "pretrain"
    FILES = ("encoder.safetensors", "encoder.json")
    SOMETIMES = ("head.safetensors",)
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

    @property
    def trains(self) -> bool:
        return self.config.method not in UNTRAINED

    def describe(self) -> str:
        config = self.config
        title = METHODS[config.method].title if config.method in METHODS else config.method
        made = f"{title}, {config.encoder}, {config.image_size} px"
        if config.method == "weights":
            return f"{made}, the given weights {config.weights}"
        images = f"these {sum(part.images for part in self.parts):,} images (digest {self.images[:10]})"
        images += f" with these labels (digest {self.labels[:10]})" if self.labels else ""
        if config.method == "random":
            return f"{made}, seed {config.seed}, batch statistics from {images}"
        length = f"steps: {config.steps:,}" if config.steps else f"epochs: {config.epochs:,}"
        recipe = f"{length}, batches of {config.batch:,}, seed {config.seed}"
        return f"{made}, {images}{_corrupted(self)} ({recipe})"


@dataclass(frozen=True)
class FeatureSpec(StageSpec):
    """Features of one split of one dataset, corrupted or clean."""

    STAGE = "features"
    FILES = ("x.npy", "ids.npy")
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

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.encoder,)

    @property
    def shares(self) -> tuple[str, ...]:
        return (self.encoder, self.fingerprint)

    def describe(self) -> str:
        images = f"these {self.split} images (digest {self.images[:10]}){_corrupted(self)}"
        return f"features {self.representation} of {images}, computed by encoder {self.encoder}"


@dataclass(frozen=True)
class ProbeSpec(StageSpec):
    """One evaluation on frozen features: learnt from a label budget, tested on all test images."""

    STAGE = "probe"
    VERSION = 3
    ANSWERS = True
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

    @property
    def reads(self) -> tuple[str, ...]:
        return (*self.train_features, *self.test_features)

    def describe(self) -> str:
        return f"a {self.config.describe()} on features with {_labels(self)}"


@dataclass(frozen=True)
class FinetuneSpec(StageSpec):
    """One evaluation by fine-tuning: an encoder and a new classifier are trained end to end on a label
    budget.

    They are tested on all test images, corrupted or clean. With a random encoder this is supervised training
    from scratch. Fields mean the same as in ``ProbeSpec`` and ``FeatureSpec``.
    """

    STAGE = "finetune"
    ANSWERS = True
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

    @property
    def trains(self) -> bool:
        return True

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.encoder,)

    def describe(self) -> str:
        return f"encoder {self.encoder} fine-tuned with {_labels(self)}{_corrupted(self)}"


def _corrupted(spec: PretrainSpec | FeatureSpec | FinetuneSpec) -> str:
    return "" if spec.corruption == "none" else f", corrupted by {spec.corruption}"


def _labels(spec: ProbeSpec | FinetuneSpec) -> str:
    how = f"{spec.draw}, seed {spec.seed}"
    return f"{spec.n_labels:,} labels ({how}), tested on all test images (digest of both {spec.labels[:10]})"


Answer = ProbeSpec | FinetuneSpec
Spec = PrepareSpec | PretrainSpec | FeatureSpec | ProbeSpec | FinetuneSpec
SPECS: Mapping[Stage, type[Spec]] = MappingProxyType(
    {kind.STAGE: kind for kind in (PrepareSpec, PretrainSpec, FeatureSpec, ProbeSpec, FinetuneSpec)}
)
STAGES: tuple[Stage, ...] = tuple(SPECS)
VERSIONS: Mapping[Stage, int] = MappingProxyType({name: kind.VERSION for name, kind in SPECS.items()})
ANSWERS: tuple[Stage, ...] = tuple(name for name, kind in SPECS.items() if kind.ANSWERS)
"""The stages that answer cells."""
