"""Projection heads: from features h to the space g(h) in which views are compared; kept beside the encoder,
whose features do not need them. With 0 layers there is no head and the features themselves are compared."""

from __future__ import annotations

from torch import nn

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig

HIDDEN = 4096


def build_head(config: PretrainConfig, in_dim: int) -> nn.Sequential:
    """The projection head of a method that compares views, for features (n, in_dim). ValueError for another
    method."""
    layers = config.head_layers
    match config.method:
        case "simclr":
            return projection_head(in_dim, config.head_dim, layers)
        case "moco-v2":
            return plain_head(in_dim, config.head_dim, layers)
        case "byol":
            return wide_head(in_dim, predictor_width(config, in_dim), config.head_dim, layers)
    raise ValueError(f"method {config.method!r} has no projection head; simclr, moco-v2 and byol have one")


def predictor_width(config: PretrainConfig, in_dim: int) -> int:
    """Hidden width of BYOL's projector and predictor: `config.predictor_dim`, or twice the features' and at
    most 4096, which is the published 4096 for a ResNet-50 and in proportion for a smaller encoder."""
    return config.predictor_dim or min(HIDDEN, 2 * in_dim)


def projection_head(in_dim: int, out_dim: int, layers: int) -> nn.Sequential:
    """SimCLR's MLP head: features (n, in_dim) to projections (n, out_dim), not normalised.

    As in the official code every linear layer has no bias and is followed by batch norm; hidden layers are
    as wide as the features and end in ReLU; the last batch norm has a gain but no offset (its offset stays
    0).
    """
    if layers == 0:
        return nn.Sequential()
    modules: list[nn.Module] = []
    for _ in range(layers - 1):
        modules += [nn.Linear(in_dim, in_dim, bias=False), nn.BatchNorm1d(in_dim), nn.ReLU()]
    last = nn.BatchNorm1d(out_dim)
    last.bias.requires_grad_(False)
    return nn.Sequential(*modules, nn.Linear(in_dim, out_dim, bias=False), last)


def plain_head(in_dim: int, out_dim: int, layers: int) -> nn.Sequential:
    """MoCo v2's MLP head: linear layers with bias, ReLU between them, no batch norm; hidden layers are as
    wide as the features."""
    if layers == 0:
        return nn.Sequential()
    modules: list[nn.Module] = []
    for _ in range(layers - 1):
        modules += [nn.Linear(in_dim, in_dim), nn.ReLU()]
    return nn.Sequential(*modules, nn.Linear(in_dim, out_dim))


def wide_head(in_dim: int, hidden_dim: int, out_dim: int, layers: int) -> nn.Sequential:
    """BYOL's MLP, projector and predictor alike: hidden layers of `hidden_dim` with bias, batch norm and
    ReLU; the last linear layer has no bias and nothing after it."""
    if layers == 0:
        return nn.Sequential()
    modules: list[nn.Module] = []
    width = in_dim
    for _ in range(layers - 1):
        modules += [nn.Linear(width, hidden_dim), nn.BatchNorm1d(hidden_dim), nn.ReLU()]
        width = hidden_dim
    return nn.Sequential(*modules, nn.Linear(width, out_dim, bias=False))
