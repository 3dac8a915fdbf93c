"""Files of a training: the checkpoint it resumes from, and the encoder it ends in. Written whole or not at
all."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig, default_config
from ssl_sweep.ssl_core.encoders.heads import build_head
from ssl_sweep.ssl_core.encoders.registry import Encoder, build_encoder
from ssl_sweep.ssl_core.training.reporter import CHECKPOINT_FILE, EpochRecord

ENCODER_FILE = "encoder.safetensors"
HEAD_FILE = "head.safetensors"
CARD_FILE = "encoder.json"
_FORMAT = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a training is. `step` is the next one to do: with the seed it gives the data position and
    all random numbers, so no generator state has to be kept. Of the unfinished epoch: `loss_sum` over its
    steps (mean over workers) and `seconds` spent; `epochs` are the finished ones."""

    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    epochs: tuple[EpochRecord, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """`identity` names what is being trained on what; a resume with another one is refused. `features` are
    those of the unfinished epoch that its record will be made of."""

    identity: Mapping[str, Any]
    progress: Progress
    model: dict[str, Any]
    optimizer: dict[str, Any]
    features: Tensor = dataclasses.field(default_factory=lambda: torch.empty(0))


def save_checkpoint(checkpoint: Checkpoint, directory: Path) -> None:
    """Write `directory`/CHECKPOINT_FILE atomically: tensors and plain values only."""
    content = {
        "format": _FORMAT,
        "identity": json.dumps(checkpoint.identity),
        "progress": json.dumps(dataclasses.asdict(checkpoint.progress)),
        "model": checkpoint.model,
        "optimizer": checkpoint.optimizer,
        "features": checkpoint.features,
    }
    directory.mkdir(parents=True, exist_ok=True)
    write_atomic(directory / CHECKPOINT_FILE, lambda path: torch.save(content, path))


def load_checkpoint(directory: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU; nothing in the file is executed. ValueError where it cannot be read."""
    path = directory / CHECKPOINT_FILE
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found = content["format"]
    except Exception as error:
        kind = type(error).__name__
        raise ValueError(f"{path} is no readable checkpoint ({kind}); delete it to start again") from error
    if found != _FORMAT:
        raise ValueError(
            f"{path} has checkpoint format {found}, this version reads {_FORMAT}; delete it to start again"
        )
    progress = json.loads(content["progress"])
    epochs = tuple(EpochRecord(**record) for record in progress.pop("epochs"))
    return Checkpoint(
        identity=json.loads(content["identity"]),
        progress=Progress(**progress, epochs=epochs),
        model=content["model"],
        optimizer=content["optimizer"],
        features=content.get("features", torch.empty(0)),
    )


def export_encoder(
    encoder: Encoder,
    config: PretrainConfig,
    directory: Path,
    training: Mapping[str, Any] | None = None,
    head: nn.Module | None = None,
) -> None:
    """Write the encoder's weights, those of its projection head where it has one and, last, its card.
    `training` are further facts for the card, JSON values."""
    directory.mkdir(parents=True, exist_ok=True)
    card = {
        "format": _FORMAT,
        "encoder": config.encoder,
        "image_size": config.image_size,
        "feature_dim": encoder.feature_dim,
        "input": "RGB, (n, 3, S, S), (x / 255 - 0.5) / 0.25",
        "method": config.method,
        "config": dataclasses.asdict(config),
        "training": dict(training or {}),
    }
    if head is not None:
        write_atomic(directory / HEAD_FILE, lambda path: save_file(_weights(head), path))
    write_atomic(directory / ENCODER_FILE, lambda path: save_file(_weights(encoder), path))
    write_atomic(directory / CARD_FILE, lambda path: path.write_text(json.dumps(card, indent=1) + "\n"))


def load_encoder(directory: Path) -> Encoder:
    """The exported encoder in eval mode, on the CPU. FileNotFoundError where there is none."""
    card = _card(directory)
    with torch.random.fork_rng(devices=[]):  # the random weights are replaced at once
        encoder = build_encoder(card["encoder"], card["image_size"])
    encoder.load_state_dict(load_file(Path(directory) / ENCODER_FILE))
    encoder.eval()
    return encoder


def load_head(directory: Path) -> nn.Module:
    """The projection head beside an exported encoder, features (n, feature_dim) to g(h) (n, head_dim), in
    eval mode, on the CPU. FileNotFoundError where there is none: the method has no such head, or it was
    random."""
    card = _card(directory)
    path = Path(directory) / HEAD_FILE
    if not path.exists():
        raise FileNotFoundError(
            f"the encoder in {directory} has no projection head ({HEAD_FILE} is missing); ask for h"
        )
    named = {name: card["config"][name] for name in ("head_layers", "head_dim", "predictor_dim")}
    config = default_config(card["encoder"], card["image_size"], method=card["method"], **named)
    with torch.random.fork_rng(devices=[]):
        head = build_head(config, card["feature_dim"])
    head.load_state_dict(load_file(path))
    head.eval()
    return head


def _card(directory: Path) -> dict[str, Any]:
    path = Path(directory) / CARD_FILE
    if not path.exists():
        raise FileNotFoundError(f"{directory} holds no exported encoder ({CARD_FILE} is missing)")
    card: dict[str, Any] = json.loads(path.read_text())
    if card["format"] != _FORMAT:
        raise ValueError(f"{path} has format {card['format']}, this version reads {_FORMAT}; train it again")
    return card


def _weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}


def write_atomic(path: Path, write: Callable[[Path], Any]) -> None:
    """`write` a file at a path beside `path`, on disk before it takes its place."""
    partial = path.with_name(f"{path.name}.partial")
    write(partial)
    with open(partial, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)
