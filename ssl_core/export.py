"""An encoder for use elsewhere: weights in one file, and a card that says how plain torchvision or timm loads
it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn
from torchvision import models

from ssl_sweep.ssl_core.encoders.base import Encoder
from ssl_sweep.ssl_core.encoders.resnets import StandardResNet
from ssl_sweep.ssl_core.encoders.vits import StandardViT
from ssl_sweep.ssl_core.encoders.weight_names import to_timm
from ssl_sweep.ssl_core.training.encoder_files import load_encoder, read_card

_SMALL_STEM = (
    "model.conv1 = torch.nn.Conv2d(3, {channels}, kernel_size=3, stride=1, padding=1, bias=False)",
    "model.maxpool = torch.nn.Identity()",
)


@dataclass(frozen=True, kw_only=True)
class LoadingCode:
    """Lines of Python that build ``model`` and load the weights of the file ``path`` into it; empty if the
    library has no such network."""

    torchvision: tuple[str, ...]
    timm: tuple[str, ...]


def export(encoder_dir: Path, out: Path, facts: Mapping[str, Any] | None = None) -> Path:
    """Write the encoder of ``encoder_dir`` to ``out`` (.safetensors) and a card beside it (.json).

    Returns the path of the card.

    The weights have torchvision's names, which timm's ResNets share. For a ViT a second file has timm's
    names, see ``timm_file``. The card is that of the training, with ``facts`` by name and the code that loads
    the file in plain torchvision and timm.

    Raises:
        FileNotFoundError: ``encoder_dir`` has no exported encoder.
        ValueError: ``out`` does not end in .safetensors.
    """
    out = Path(out)
    if out.suffix != ".safetensors":
        raise ValueError(f"out is {out}; use a name ending in .safetensors")
    encoder = load_encoder(encoder_dir)
    card = read_card(encoder_dir) | dict(facts or {})
    code = loading_code(encoder, card["encoder"], card["image_size"])
    weights = {name: tensor.contiguous() for name, tensor in encoder.state_dict().items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, out)
    if isinstance(encoder, StandardViT):
        save_file({to_timm(name): tensor for name, tensor in weights.items()}, timm_file(out))
    card_path = out.with_suffix(".json")
    loading = {"torchvision": list(code.torchvision), "timm": list(code.timm)}
    note = "images are the input that is named above; the output of the model is the feature (n, feature_dim)"
    card_path.write_text(json.dumps({**card, "loading": loading, "note": note}, indent=1) + "\n")
    return card_path


def timm_file(out: Path) -> Path:
    """The file with a ViT's weights under timm's names."""
    return out.with_suffix(".timm.safetensors")


def loading_code(encoder: Encoder, name: str, image_size: int) -> LoadingCode:
    """How plain torchvision and timm build this encoder. Neither has the demo encoder and the wider
    ResNets."""
    if isinstance(encoder, StandardResNet) and hasattr(models, name):
        return _resnet(encoder, name)
    if isinstance(encoder, StandardViT):
        return _vit(encoder, image_size)
    return LoadingCode(torchvision=(), timm=())


def _resnet(encoder: StandardResNet, name: str) -> LoadingCode:
    stem: tuple[str, ...] = ()
    if isinstance(encoder.maxpool, nn.Identity):
        stem = tuple(line.format(channels=encoder.conv1.out_channels) for line in _SMALL_STEM)
    load = "model.load_state_dict(safetensors.torch.load_file(path))"
    return LoadingCode(
        torchvision=(
            "import safetensors.torch, torch, torchvision",
            f"model = torchvision.models.{name}(weights=None)",
            "model.fc = torch.nn.Identity()",
            *stem,
            load,
        ),
        timm=(
            "import safetensors.torch, timm, torch",
            f"model = timm.create_model({name!r}, pretrained=False, num_classes=0)",
            *stem,
            load,
        ),
    )


def _vit(encoder: StandardViT, image_size: int) -> LoadingCode:
    width, patch = encoder.feature_dim, encoder.patch_size
    depth = len(encoder.layers)
    heads = width // 64
    return LoadingCode(
        torchvision=(
            "import safetensors.torch, torch, torchvision",
            f"model = torchvision.models.VisionTransformer({image_size}, {patch}, {depth}, {heads}, {width}, "
            f"{4 * width})",
            "model.heads = torch.nn.Identity()",
            "model.load_state_dict(safetensors.torch.load_file(path))",
        ),
        timm=(
            "import safetensors.torch, timm, torch",
            f"model = timm.models.VisionTransformer(img_size={image_size}, patch_size={patch}, "
            f"depth={depth}, num_heads={heads}, embed_dim={width}, num_classes=0)",
            "model.load_state_dict(safetensors.torch.load_file(path.replace("
            "'.safetensors', '.timm.safetensors')))",
        ),
    )
