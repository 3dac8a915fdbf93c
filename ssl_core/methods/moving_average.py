"""The slow copy of a network that gives MoCo's keys and BYOL's targets."""

from __future__ import annotations

import copy

import torch
from torch import nn


def slow_copy(module: nn.Module) -> nn.Module:
    """A copy that starts equal and gets no gradient."""
    copied = copy.deepcopy(module)
    return copied.requires_grad_(False)


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, momentum: float) -> None:
    """Set slow = momentum * slow + (1 - momentum) * fast, parameter by parameter.

    Batch-norm statistics are not averaged, as in the official codes: the copy gathers its own in its forward
    passes.
    """
    pairs = list(zip(slow.parameters(), fast.parameters(), strict=True))
    if pairs:
        torch._foreach_lerp_([s for s, _ in pairs], [f for _, f in pairs], 1 - momentum)
