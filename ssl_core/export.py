"""An encoder for others: weights in one file, and a card that says how plain torchvision or timm loads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from ssl_sweep.ssl_core.encoders.registry import Encoder
from ssl_sweep.ssl_core.encoders.resnets import StandardResNet
from ssl_sweep.ssl_core.encoders.vits import StandardViT
from ssl_sweep.ssl_core.encoders.weight_names import to_timm
from ssl_sweep.ssl_core.training.checkpoint import CARD_FILE, load_encoder, write_atomic

_RESNETS = ("resnet18", "resnet34", "resnet50")
_SMALL_STEM = (
    "model.conv1 = torch.nn.Conv2d(3, {channels}, kernel_size=3, stride=1, padding=1, bias=False)",
    "model.maxpool = torch.nn.Identity()",
)


@dataclass(frozen=True, kw_only=True)
class LoadingCode:
    """Lines of Python that build `model`, an encoder that takes the file's weights; empty where the library
    has no such network. `path` in them is the file's."""

    torchvision: tuple[str, ...]
    timm: tuple[str, ...]


def add_to_card(encoder_dir: Path, facts: Mapping[str, Any]) -> None:
    """Put further facts, JSON values by name, on the card of an exported encoder."""
    path = Path(encoder_dir) / CARD_FILE
    card = json.loads(path.read_text()) | dict(facts)
    write_atomic(path, lambda partial: partial.write_text(json.dumps(card, indent=1) + "\n"))


def export(encoder_dir: Path, out: Path, facts: Mapping[str, Any] | None = None) -> Path:
    """Write the encoder of `encoder_dir` to `out` (.safetensors) and its card beside it (.json); returns the
    card's path.

    The weights have torchvision's names, those of timm's ResNets too; for a ViT a second file with timm's
    names, `<out>.timm.safetensors`, is written. The card is that of the training, `facts` by name, and the
    code that loads the file in plain torchvision and timm. FileNotFoundError where there is no encoder,
    ValueError for another ending of `out`.
    """
    out = Path(out)
    if out.suffix != ".safetensors":
        raise ValueError(f"out is {out}; use a name ending in .safetensors")
    encoder = load_encoder(encoder_dir)
    card = json.loads((Path(encoder_dir) / CARD_FILE).read_text()) | dict(facts or {})
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
    """Where a ViT's weights under timm's names are."""
    return out.with_suffix(".timm.safetensors")


def loading_code(encoder: Encoder, name: str, image_size: int) -> LoadingCode:
    """How plain torchvision and timm build this encoder. The demo encoder and the wider ResNets are in
    neither."""
    if isinstance(encoder, StandardResNet) and name in _RESNETS:
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
