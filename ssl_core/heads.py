"""Projection heads: from features to the space in which views are contrasted; thrown away after the
pretraining."""

from __future__ import annotations

from torch import nn


def projection_head(in_dim: int, out_dim: int, layers: int) -> nn.Sequential:
    """SimCLR's MLP head: features (n, in_dim) to projections (n, out_dim), not normalised.

    As in the official code every linear layer has no bias and is followed by batch norm; hidden layers are
    as wide as the features and end in ReLU; the last batch norm has a gain but no offset (its offset stays
    0).
    """
    modules: list[nn.Module] = []
    for _ in range(layers - 1):
        modules += [nn.Linear(in_dim, in_dim, bias=False), nn.BatchNorm1d(in_dim), nn.ReLU()]
    last = nn.BatchNorm1d(out_dim)
    last.bias.requires_grad_(False)
    return nn.Sequential(*modules, nn.Linear(in_dim, out_dim, bias=False), last)
