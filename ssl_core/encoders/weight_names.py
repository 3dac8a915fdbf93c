"""Names of weights as others write them: with a wrapper's prefix, with a classifier, in timm's style."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_PREFIXES = ("module.", "backbone.", "encoder.", "model.", "state_dict.", "base_encoder.", "encoder_q.")
_CLASSIFIERS = ("fc.", "heads.", "head.", "classifier.")
# torchvision's ViT -> timm's; {} is the number of a block.
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

    Prefixes that wrappers put before a model (module., backbone., encoder. and the like, also several) are
    taken off where all weights but a classifier's have them, or where only some do and the others are a head
    beside the encoder. A timm ViT's names become torchvision's; ResNets are named alike in both.
    """
    named = dict(weights)
    while prefix := _common_prefix(named):
        named = {k.removeprefix(prefix): v for k, v in named.items() if k.startswith(prefix)}
    if any(name.startswith("blocks.") and ".attn." in name for name in named):
        named = {from_timm(name): tensor for name, tensor in named.items()}
    return {name: v for name, v in named.items() if not name.startswith(_CLASSIFIERS)}


def _common_prefix(names: Mapping[str, Tensor]) -> str:
    """A wrapper's prefix under which the encoder's first layer lies."""
    firsts = ("conv1.weight", "class_token", "cls_token", "stem.0.weight")
    if any(first in names for first in firsts):
        return ""  # plain already: a ViT's own names start with "encoder."
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
