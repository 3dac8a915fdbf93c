"""Weights from outside the sweep: a file is identified by its content, a published set by its name."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ssl_sweep.ssl_core.config.registry import ENCODERS
from ssl_sweep.ssl_core.encoders.inert_pickle import Shape
from ssl_sweep.ssl_core.encoders.shapes import weight_shapes
from ssl_sweep.ssl_core.encoders.weight_files import SUFFIXES, stored_tensors
from ssl_sweep.ssl_core.encoders.weight_names import fitting_names
from ssl_sweep.sweep.util.files import cached_digest

_NAME = re.compile(r"([A-Za-z0-9_]+)_Weights\.[A-Z0-9_]+")
_IDENTITY = re.compile(r"sha256:[0-9a-f]{16}")
_PUBLISHED = {"ResNet18": "resnet18", "ResNet34": "resnet34", "ResNet50": "resnet50", "ViT_B_16": "vit-b"}
"""The encoder of torchvision's sets of weights."""
_PUBLISHED_SIZE, _LARGER_SIZE = 224, 384  # px of their images; the larger one in names with E2E


@dataclass(frozen=True)
class GivenWeights:
    """Weights that a grid names."""

    identity: str
    """Part of the encoder's id."""
    path: str
    """The file; empty for a published set."""


def given_weights(text: str, folder: Path) -> GivenWeights:
    """The weights that a grid names by a file, by torchvision's name, or by the identity of a file.

    An identity alone is enough if the store has the encoder.

    Args:
        folder: the grid's folder, from which a relative path starts.

    Raises:
        ValueError: the name is not valid, or the file is missing.
    """
    if _NAME.fullmatch(text) or _IDENTITY.fullmatch(text):
        return GivenWeights(text, "")
    if not text.endswith(SUFFIXES):
        raise ValueError(
            f"weights: {text!r} is neither a file ({', '.join(SUFFIXES)}) nor a name of torchvision's"
        )
    path = folder / Path(text).expanduser()
    if not os.path.isfile(path):  # unlike Path.is_file, also False for a name that is too long
        raise ValueError(
            f"weights: no file {path}; give its current path or, if its encoder is finished, the value of the"
            " results column weights (sha256:…)"
        )
    return GivenWeights(f"sha256:{cached_digest(path)[:16]}", str(path.resolve()))


def check_fit(given: GivenWeights, encoder: str, size: int) -> None:
    """Compare the weights with an encoder for images of ``size`` pixels, by names and shapes, without torch.

    Weights that only the store has, and those of an added encoder, are compared when they are loaded.

    Raises:
        ValueError: they cannot be read, or do not fit.
    """
    expected = weight_shapes(encoder, size)
    if not expected or (_IDENTITY.fullmatch(given.identity) and not given.path):
        return
    found = _shapes(given.path, given.identity) if given.path else _published(given.identity)
    try:
        fitting_names(found, expected)
    except ValueError as error:
        text, fitting = given.path or given.identity, _fitting(found, size)
        hint = f"; it fits {', '.join(fitting)}" if fitting else ""
        raise ValueError(f"weights: {text}, as weights of {encoder} at {size} px, {error}{hint}") from None


def _fitting(found: dict[str, Shape], size: int) -> list[str]:
    """The encoders that some weights fit, for images of ``size`` pixels."""
    fitting = []
    for encoder in ENCODERS:
        with contextlib.suppress(ValueError):
            fitting_names(found, weight_shapes(encoder, size))
            fitting.append(encoder)
    return fitting


@lru_cache(maxsize=64)
def _shapes(path: str, identity: str) -> dict[str, Shape]:
    """The shapes in a file, read once for each content."""
    return {name: tensor.shape for name, tensor in stored_tensors(Path(path)).items()}


def _published(name: str) -> dict[str, Shape]:
    match = _NAME.fullmatch(name)
    assert match is not None  # all other names are refused before
    if match[1] not in _PUBLISHED:
        known = ", ".join(f"{one}_Weights" for one in _PUBLISHED)
        raise ValueError(f"weights: {name} are of an encoder that is not built in; use one of {known}")
    return weight_shapes(_PUBLISHED[match[1]], _LARGER_SIZE if "E2E" in name else _PUBLISHED_SIZE)
