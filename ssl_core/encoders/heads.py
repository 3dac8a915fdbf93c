"""Projection heads: from features h to the space g(h) in which views are compared.

A head is saved beside the encoder, whose features do not need it. With 0 layers a head is empty, and the
features themselves are compared.
"""

from __future__ import annotations

from torch import nn


def projection_head(in_dim: int, out_dim: int, layers: int) -> nn.Sequential:
    """SimCLR's MLP head: features (n, in_dim) to projections (n, out_dim), not normalised.

    As in the official code, linear layers have no bias and are followed by batch norm; hidden layers are as
    wide as the features and end in ReLU; the last batch norm has a gain but no offset (it stays 0).
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
    """MoCo v2's MLP head: features (n, in_dim) to projections (n, out_dim).

    Linear layers with bias, ReLU between them, no batch norm; hidden layers are as wide as the features.
    """
    if layers == 0:
        return nn.Sequential()
    modules: list[nn.Module] = []
    for _ in range(layers - 1):
        modules += [nn.Linear(in_dim, in_dim), nn.ReLU()]
    return nn.Sequential(*modules, nn.Linear(in_dim, out_dim))


def wide_head(in_dim: int, hidden_dim: int, out_dim: int, layers: int) -> nn.Sequential:
    """BYOL's MLP, both for projector and predictor: (n, in_dim) to (n, out_dim).

    Hidden layers of ``hidden_dim`` with bias, batch norm and ReLU; the last linear layer has no bias and
    nothing after it.
    """
    if layers == 0:
        return nn.Sequential()
    modules: list[nn.Module] = []
    width = in_dim
    for _ in range(layers - 1):
        modules += [nn.Linear(width, hidden_dim), nn.BatchNorm1d(hidden_dim), nn.ReLU()]
        width = hidden_dim
    return nn.Sequential(*modules, nn.Linear(width, out_dim, bias=False))
