"""The checkpoint of a fine-tuning: the finished fits, and the state of the current one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ssl_sweep.ssl_core.config.finetune import FinetuneConfig
from ssl_sweep.ssl_core.training.checkpoint import write_atomic
from ssl_sweep.ssl_core.training.reporter import CHECKPOINT_FILE

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class FinetuneState:
    """How far a fine-tuning is."""

    identity: Mapping[str, Any]
    """See ``identity_of``."""
    hits: Mapping[str, float] = field(default_factory=dict)
    """Held-out images that each finished fit got right, by the name of the fit; NaN if it diverged."""
    fit: str = ""
    """Name of the current fit."""
    step: int = 0
    """Its next step. With the seed it gives data and views."""
    loss_sum: float = 0.0
    """Sum of its losses; not finite if it diverged."""
    seconds: float = 0.0
    """Spent on all fits."""
    model: dict[str, Any] = field(default_factory=dict)
    """State dict of the current fit."""
    optimizer: dict[str, Any] = field(default_factory=dict)
    """State dict of its optimiser."""

    def save(self, folder: Path) -> None:
        """Write ``folder``/``CHECKPOINT_FILE`` atomically."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("model", "optimizer")}
        content = {"format": _FORMAT, "plain": json.dumps(plain), "model": self.model}
        content["optimizer"] = self.optimizer
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / CHECKPOINT_FILE, lambda path: torch.save(content, path))

    def resumed(self, folder: Path) -> FinetuneState:
        """The state in ``folder``, or this one if there is no checkpoint. Nothing in the file is executed.

        Raises:
            ValueError: The checkpoint is damaged, or belongs to another fine-tuning.
        """
        path = folder / CHECKPOINT_FILE
        if not path.exists():
            return self
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            plain, known = json.loads(content["plain"]), content["format"] == _FORMAT
        except Exception as error:
            raise ValueError(
                f"{path} is not a readable checkpoint ({type(error).__name__}); delete it to start again"
            ) from error
        changed = [key for key, value in self.identity.items() if plain["identity"].get(key) != value]
        if changed or not known:
            what = f"another fine-tuning (other {', '.join(changed)})" if changed else "another version"
            raise ValueError(f"{path} is the checkpoint of {what}; delete it to start again")
        return replace(self, **plain, model=content["model"], optimizer=content["optimizer"])


def identity_of(encoder: nn.Module, config: FinetuneConfig, seed: int, *arrays: Any) -> dict[str, Any]:
    """What a checkpoint belongs to, as JSON values: the encoder's weights, the seed, the arrays of the label
    budget, and the config.

    Fields of the config at their defaults are left out, so that a new field does not change the identity.
    """
    hashed = hashlib.sha256()
    for tensor in encoder.state_dict().values():
        hashed.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    given = [f.name for f in fields(config) if f.default is MISSING or getattr(config, f.name) != f.default]
    whole = json.loads(json.dumps(asdict(config)))
    images = hashlib.sha256()
    for array in arrays:
        images.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
    return {
        "seed": seed,
        "config": {name: whole[name] for name in given},
        "encoder": hashed.hexdigest()[:16],
        "budget": images.hexdigest()[:16],
    }
