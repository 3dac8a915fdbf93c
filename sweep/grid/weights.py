"""Weights from outside the sweep: a file is identified by its content, a published set by its name."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ssl_sweep.sweep.util.files import cached_digest

_NAME = re.compile(r"[A-Za-z0-9_]+_Weights\.[A-Z0-9_]+")
_IDENTITY = re.compile(r"sha256:[0-9a-f]{16}")
_FILES = (".pt", ".pth", ".safetensors")


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
    if not text.endswith(_FILES):
        raise ValueError(
            f"weights: {text!r} is neither a file ({', '.join(_FILES)}) nor a name of torchvision's"
        )
    path = folder / Path(text).expanduser()
    if not os.path.isfile(path):  # unlike Path.is_file, also False for a name that is too long
        raise ValueError(
            f"weights: no file {path}; give its current path or, if its encoder is finished, the value of the"
            " results column weights (sha256:…)"
        )
    return GivenWeights(f"sha256:{cached_digest(path)[:16]}", str(path.resolve()))
