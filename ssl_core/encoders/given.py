"""Method ``weights``: an encoder with weights from elsewhere. Nothing is downloaded here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torchvision.models import get_weight

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.encoders.base import Encoder
from ssl_sweep.ssl_core.encoders.build import build_encoder
from ssl_sweep.ssl_core.encoders.inert_pickle import StoredTensor
from ssl_sweep.ssl_core.encoders.weight_files import SUFFIXES, storages, stored_tensors
from ssl_sweep.ssl_core.encoders.weight_names import fitting_names


@dataclass(frozen=True, kw_only=True)
class GivenWeights:
    """An encoder with given weights, and facts for its card."""

    encoder: Encoder
    """In eval mode."""
    source: str
    """Where the weights came from: ``config.weights``."""
    sha256: str
    """SHA-256 of the file, in hex."""
    trained_on: str
    """The input they were trained on; empty if it is unknown."""


def load_weights(config: PretrainConfig) -> GivenWeights:
    """``config.encoder`` with the weights ``config.weights``.

    These are torchvision's by full name ("ResNet18_Weights.IMAGENET1K_V1"), from torch hub's folder, or a
    file of torch.save or safetensors, of which only tensors are read and nothing is executed. Names may be
    torchvision's or timm's, with or without a classifier, under any prefix. Like all encoders it
    gets images as (x / 255 - 0.5) / 0.25, whatever the weights were trained on. From ImageNet's usual
    statistics this differs by up to a tenth in scale and 0.4 deviations in level; the card says so.

    Raises:
        ValueError: ``config.weights`` is empty or unknown; its file is missing (the message says where it
            belongs) or not readable; or a weight is missing, unexpected or of another shape.
    """
    path, trained_on = _find(config.weights)
    digest = _sha256(path)
    if trained_on:
        _check_digest(path, digest)
    with torch.random.fork_rng(devices=[]):  # the random weights are replaced at once
        encoder = build_encoder(config.encoder, config.image_size)
    expected = encoder.state_dict()
    given = _read(path, config, expected)
    encoder.load_state_dict({name: given.get(name, own) for name, own in expected.items()})
    encoder.eval()
    return GivenWeights(encoder=encoder, source=config.weights, sha256=digest, trained_on=trained_on)


def _find(weights: str) -> tuple[Path, str]:
    """The file, and what its weights were trained on."""
    if not weights:
        raise ValueError(
            f"weights is empty; give a file ({', '.join(SUFFIXES)}) or torchvision's name of weights, "
            "for instance ResNet18_Weights.IMAGENET1K_V1"
        )
    if weights.endswith(SUFFIXES):
        path = Path(weights).expanduser()
        if not path.is_file():
            raise ValueError(f"weights: the file {weights} does not exist; give the path of a weights file")
        return path, ""
    try:
        entry = get_weight(weights)
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"weights is {weights!r}, which torchvision does not have; give a full name "
            f"(ResNet18_Weights.IMAGENET1K_V1), or a file ending in {', '.join(SUFFIXES)}"
        ) from error
    path = Path(torch.hub.get_dir()) / "checkpoints" / entry.url.rsplit("/", 1)[1]
    if not path.is_file():
        raise ValueError(
            f"weights is {weights}, which is not on this machine, and a run downloads nothing; "
            f"fetch {entry.url} to {path}, or give the path of a file"
        )
    preset = entry.transforms()
    return path, f"(x / 255 - {preset.mean}) / {preset.std}"


def _read(path: Path, config: PretrainConfig, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's weights in a file, under the encoder's names."""
    stored = stored_tensors(path)
    shapes = {name: tensor.shape for name, tensor in stored.items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    try:
        names = fitting_names(shapes, wanted)
    except ValueError as error:
        where = f"{config.encoder} at {config.image_size} px"
        raise ValueError(f"weights: {path}, as weights of {where}, {error}") from None
    if not any(tensor.storage for tensor in stored.values()):
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise ValueError(f"weights: {path} is damaged or cut short; fetch it again") from error
        return {name: tensors[original] for name, original in names.items()}
    places = {name: stored[original] for name, original in names.items()}
    content = dict(storages(path, {place.storage for place in places.values()}))
    return {name: _tensor(path, name, place, content) for name, place in places.items()}


def _tensor(path: Path, name: str, place: StoredTensor, content: Mapping[str, bytes]) -> Tensor:
    dtype = getattr(torch, place.dtype, None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"weights: {path}: {name} has elements of an unknown type; save it as float32")
    if 0 in place.shape:
        return torch.empty(place.shape, dtype=dtype)
    try:
        storage = torch.frombuffer(bytearray(content[place.storage]), dtype=dtype)
        return storage.as_strided(place.shape, place.stride, place.offset)
    except (RuntimeError, ValueError, KeyError) as error:
        raise ValueError(f"weights: {path} is damaged or cut short ({name}); fetch it again") from error


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_digest(path: Path, digest: str) -> None:
    """Compare with the name of the file, in which torch hub writes the start of the hash."""
    match = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    if match and not digest.startswith(match[1]):
        raise ValueError(f"weights: {path} is damaged (its hash starts with {digest[:8]}); fetch it again")
