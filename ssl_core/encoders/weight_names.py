"""Names of weights in other files: with the prefix of a wrapper, with a classifier, or in timm's style."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_PREFIXES = ("module.", "backbone.", "encoder.", "model.", "state_dict.", "base_encoder.", "encoder_q.")
_CLASSIFIERS = ("fc.", "heads.", "head.", "classifier.")
# Of a ViT, in torchvision and in timm; {} is the number of a block.
_VIT = (
    ("class_token", "cls_token"),
    ("conv_proj.", "patch_embed.proj."),
    ("encoder.pos_embedding", "pos_embed"),
    ("encoder.layers.encoder_layer_{}.ln_1.", "blocks.{}.norm1."),
    ("encoder.layers.encoder_layer_{}.ln_2.", "blocks.{}.norm2."),
    ("encoder.layers.encoder_layer_{}.self_attention.in_proj_", "blocks.{}.attn.qkv."),
    ("encoder.layers.encoder_layer_{}.self_attention.out_proj.", "blocks.{}.attn.proj."),
    ("encoder.layers.encoder_layer_{}.mlp.0.", "blocks.{}.mlp.fc1."),
    ("encoder.layers.encoder_layer_{}.mlp.3.", "blocks.{}.mlp.fc2."),
    ("encoder.ln.", "norm."),
)


def plain_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under torchvision's names, without a classifier.

    Prefixes of wrappers (module., backbone., encoder. and others, also several) are removed. If only some
    names have the prefix, the other weights are dropped: they belong to a head beside the encoder. The names
    of a timm ViT become torchvision's; ResNets have the same names in both.
    """
    named = dict(weights)
    while prefix := _common_prefix(named):
        named = {k.removeprefix(prefix): v for k, v in named.items() if k.startswith(prefix)}
    if any(name.startswith("blocks.") and ".attn." in name for name in named):
        named = {from_timm(name): tensor for name, tensor in named.items()}
    return {name: v for name, v in named.items() if not name.startswith(_CLASSIFIERS)}


def _common_prefix(names: Mapping[str, Tensor]) -> str:
    """The prefix of a wrapper, or "" if the names are plain."""
    firsts = ("conv1.weight", "class_token", "cls_token", "stem.0.weight")
    if any(first in names for first in firsts):
        return ""  # plain: names of a ViT itself start with "encoder."
    return next((p for p in _PREFIXES if any(name.startswith(p) for name in names)), "")


def from_timm(name: str) -> str:
    """torchvision's name of a weight of a timm ViT."""
    return _renamed(name, [(timm, ours) for ours, timm in _VIT])


def to_timm(name: str) -> str:
    """timm's name of a weight of a torchvision ViT."""
    return _renamed(name, list(_VIT))


def _renamed(name: str, pairs: list[tuple[str, str]]) -> str:
    for old, new in pairs:
        pattern = re.escape(old).replace(r"\{\}", r"(\d+)")
        if match := re.match(pattern, name):
            return new.format(*match.groups()) + name[match.end() :]
    return name
