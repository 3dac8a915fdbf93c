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
from ssl_sweep.ssl_core.encoders.weight_names import plain_names

_IGNORED = re.compile(r"num_batches_tracked$")  # missing in old files, and unused in eval mode
_SHOWN = 4  # names that a message lists


@dataclass(frozen=True, kw_only=True)
class GivenWeights:
    """An encoder with given weights, and facts for its card."""

    encoder: Encoder
    """In eval mode."""
    source: str
    """Where the weights came from: ``config.weights``."""
    sha256: str
    """Of the file."""
    trained_on: str
    """The input they were trained on; empty if it is unknown."""


def load_weights(config: PretrainConfig) -> GivenWeights:
    """``config.encoder`` with the weights ``config.weights``.

    These are torchvision's by full name ("ResNet18_Weights.IMAGENET1K_V1"), from torch hub's folder, or a
    file: a state dict (.pt, .pth; only tensors are read, nothing is executed) or .safetensors. Names may be
    torchvision's or timm's, with or without a classifier and the prefixes of wrappers. Like all encoders it
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
    given = plain_names(_read(path))
    expected = encoder.state_dict()
    _compare(path, given, expected, config)
    encoder.load_state_dict({name: given.get(name, own) for name, own in expected.items()})
    encoder.eval()
    return GivenWeights(encoder=encoder, source=config.weights, sha256=digest, trained_on=trained_on)


def _find(weights: str) -> tuple[Path, str]:
    """The file, and what its weights were trained on."""
    if not weights:
        raise ValueError(
            "weights is empty; give a file (.pt, .pth, .safetensors) or torchvision's name of weights, "
            "for instance ResNet18_Weights.IMAGENET1K_V1"
        )
    if weights.endswith((".pt", ".pth", ".safetensors")):
        path = Path(weights).expanduser()
        if not path.is_file():
            raise ValueError(f"weights: the file {weights} does not exist; give the path of a weights file")
        return path, ""
    try:
        entry = get_weight(weights)
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"weights is {weights!r}, which torchvision does not have; give a full name "
            "(ResNet18_Weights.IMAGENET1K_V1), or a file ending in .pt, .pth or .safetensors"
        ) from error
    path = Path(torch.hub.get_dir()) / "checkpoints" / entry.url.rsplit("/", 1)[1]
    if not path.is_file():
        raise ValueError(
            f"weights is {weights}, which is not on this machine, and a run downloads nothing; "
            f"fetch {entry.url} to {path}, or give the path of a file"
        )
    preset = entry.transforms()
    return path, f"(x / 255 - {preset.mean}) / {preset.std}"


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError):
        raise ValueError(f"weights: {path} is not a readable safetensors file") from None
    except Exception as error:
        kind = type(error).__name__
        raise ValueError(
            f"weights: {path} is not a readable file of tensors ({kind}); save a state dict with torch.save"
        ) from error
    for key in ("state_dict", "model"):  # what training scripts wrap a state dict in
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not any(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(f"weights: {path} has no state dict; save model.state_dict() with torch.save")
    return {str(name): v for name, v in content.items() if isinstance(v, Tensor)}


def _compare(
    path: Path, given: Mapping[str, Tensor], expected: Mapping[str, Tensor], config: PretrainConfig
) -> None:
    missing = [name for name in expected if name not in given and not _IGNORED.search(name)]
    left_over = [name for name in given if name not in expected]
    shapes = [n for n in expected if n in given and given[n].shape != expected[n].shape]
    problems = []
    if missing:
        problems.append(f"it lacks {_listed(missing)}")
    if left_over:
        problems.append(f"it also has {_listed(left_over)}")
    if shapes:
        first = shapes[0]
        problems.append(
            f"{_listed(shapes)} {'has' if len(shapes) == 1 else 'have'} another shape "
            f"({first} is {tuple(given[first].shape)}, the encoder has {tuple(expected[first].shape)})"
        )
    if not problems:
        return
    hint = "use the encoder of these weights"
    if any(name in shapes for name in ("conv1.weight", "conv_proj.weight")):
        hint += ", and an image_size on the same side of 64 px: up to there stems and patches are smaller"
    elif "encoder.pos_embedding" in shapes:
        hint += ", and the image_size of their training"
    raise ValueError(
        f"weights: {path} does not fit {config.encoder} at {config.image_size} px: "
        f"{'; '.join(problems)}; {hint}"
    )


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_digest(path: Path, digest: str) -> None:
    """Compare with the name of the file, in which torch hub writes the start of the hash."""
    match = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    if match and not digest.startswith(match[1]):
        raise ValueError(f"weights: {path} is damaged (its hash starts with {digest[:8]}); fetch it again")
