"""The files that a training ends in: the encoder's weights, those of its projection head, and a card."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig, default_config
from ssl_sweep.ssl_core.encoders.base import Encoder
from ssl_sweep.ssl_core.encoders.build import build_encoder
from ssl_sweep.ssl_core.methods.build import method_class
from ssl_sweep.ssl_core.training.checkpoint import write_atomic

ENCODER_FILE = "encoder.safetensors"
HEAD_FILE = "head.safetensors"
CARD_FILE = "encoder.json"
_FORMAT = 1


def export_encoder(
    encoder: Encoder,
    config: PretrainConfig,
    directory: Path,
    training: Mapping[str, Any] | None = None,
    head: nn.Module | None = None,
) -> None:
    """Write the weights of the encoder, those of its projection head if it has one and, last, its card.

    Args:
        encoder: What is saved.
        config: How it was trained.
        directory: Where the files are written.
        training: Further facts for the card, JSON values.
        head: The projection head.
    """
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
    _write_card(directory, card)


def load_encoder(directory: Path) -> Encoder:
    """The exported encoder in eval mode, on the CPU.

    Raises:
        FileNotFoundError: The directory has no exported encoder.
        ValueError: Its files have another format.
    """
    card = read_card(directory)
    with torch.random.fork_rng(devices=[]):  # the random weights are replaced at once
        encoder = build_encoder(card["encoder"], card["image_size"])
    encoder.load_state_dict(load_file(Path(directory) / ENCODER_FILE))
    encoder.eval()
    return encoder


def load_head(directory: Path) -> nn.Module:
    """The projection head beside an exported encoder, features (n, feature_dim) to g(h) (n, head_dim), in
    eval mode, on the CPU.

    Raises:
        FileNotFoundError: The encoder has no head: its method has none, or it was not trained.
        ValueError: Its files have another format.
    """
    card = read_card(directory)
    path = Path(directory) / HEAD_FILE
    if not path.exists():
        raise FileNotFoundError(
            f"the encoder in {directory} has no projection head ({HEAD_FILE} is missing); ask for h"
        )
    named = {name: card["config"][name] for name in ("head_layers", "head_dim", "predictor_dim")}
    config = default_config(card["encoder"], card["image_size"], method=card["method"], **named)
    with torch.random.fork_rng(devices=[]):
        head = method_class(card["method"]).build_head(config, card["feature_dim"])
    head.load_state_dict(load_file(path))
    head.eval()
    return head


def add_to_card(directory: Path, facts: Mapping[str, Any]) -> None:
    """Add facts, JSON values by name, to the card of an exported encoder."""
    _write_card(Path(directory), read_card(directory) | dict(facts))


def read_card(directory: Path) -> dict[str, Any]:
    """The card of an exported encoder.

    Raises:
        FileNotFoundError: The directory has no exported encoder.
        ValueError: The card has another format.
    """
    path = Path(directory) / CARD_FILE
    if not path.exists():
        raise FileNotFoundError(f"{directory} has no exported encoder ({CARD_FILE} is missing)")
    card: dict[str, Any] = json.loads(path.read_text())
    if card["format"] != _FORMAT:
        raise ValueError(
            f"{path} has format {card['format']}, but this version reads {_FORMAT}; train the encoder again"
        )
    return card


def _write_card(directory: Path, card: Mapping[str, Any]) -> None:
    write_atomic(directory / CARD_FILE, lambda path: path.write_text(json.dumps(card, indent=1) + "\n"))


def _weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
