"""What every protocol declares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.sweep.spec.columns import Column

Config = TypeVar("Config")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Key:
    """A key of an evaluate block that one protocol reads. Like every axis it takes one value or a list."""

    kind: Any
    """Type of one value, as pydantic takes it."""
    about: str
    """What the schema says about it."""
    default: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Asked:
    """What a protocol is asked for: an encoder, and a label budget of a dataset."""

    encoder: PretrainConfig
    labels: int
    """Images of the label budget."""
    available: int
    """Labelled training images of the dataset."""


class Features(Protocol):
    """Frozen features of one dataset under one encoder, or several joined."""

    train: Any
    """(n_train, width); an array by rows."""
    test: Any
    """(n_test, width)"""
    device: str
    """The torch device on which classifiers are fitted."""

    def shared(self, name: str, make: Callable[[], Made]) -> Made:
        """What ``make`` returns; it is made once for all stages that read these features."""


@dataclass(frozen=True)
class Budget:
    """The labels that a protocol may learn from."""

    rows: np.ndarray
    """Rows of ``Features.train``, ascending."""
    labels: np.ndarray
    """(len(rows),) classes at the level that is learnt."""
    n_classes: int
    seed: int
    groups: np.ndarray | None
    """(len(rows),) groups that folds must not divide; None if the dataset has none."""


@dataclass(frozen=True)
class Fitted:
    """A fitted classifier's answers."""

    top5: np.ndarray
    """(n_test, 5 or fewer) predicted classes, best first."""
    missing: Sequence[int]
    """Classes without an image in the label budget."""
    facts: Mapping[str, Any]
    """What was chosen, for the manifest."""
    gpu: bool = False
    """Whether it was fitted on a GPU."""


class EvaluationProtocol(ABC, Generic[Config]):
    """One way to judge an encoder. Its settings, an instance of ``config``, are its part of an identity."""

    name: ClassVar[str]
    """Its name in a grid."""
    about: ClassVar[str]
    """What happens, for the schema."""
    config: ClassVar[type[Any]]
    """A frozen dataclass with a ``TAG``."""
    keys: ClassVar[Mapping[str, Key]] = {}
    """Keys of an evaluate block that only this protocol reads."""
    columns: ClassVar[tuple[Column, ...]] = ()
    """Results columns; each reads the config, and is empty for other protocols."""
    trains: ClassVar[bool] = False
    """Whether it trains the encoder further (stage ``finetune``) instead of reading features (``probe``)."""
    gpu: ClassVar[bool] = False
    """Whether it can be fitted on a GPU, if ``compute.probe_device`` asks for one."""

    @abstractmethod
    def configs(self, given: Mapping[str, tuple[Any, ...]], asked: Asked) -> list[Config]:
        """The settings that a block asks for: the product of its ``keys``, by name in ``given``. Equal
        settings should be one object, so that their part of identities is computed once."""

    def fit(self, config: Config, features: Features, budget: Budget) -> Fitted:
        """Learn from the budget and answer for all test images. It never gets a test label."""
        raise TypeError(f"protocol {self.name} does not read features")

    def memory(self, config: Config, labels: int, classes: int) -> float:
        """Bytes that a fit takes in addition to its features, if they may be many."""
        return 0.0

    def effort(self, config: Config) -> int:
        """Fits of one classifier. Stages of equal effort and label budget take about as long."""
        return 0

    def multiply_adds(self, config: Config, labels: int, width: int, classes: int) -> float:
        """Multiply-adds of one stage, to predict its duration before one was measured."""
        return float(labels * width * classes)
