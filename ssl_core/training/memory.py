"""Training in less memory: activation checkpointing, and what to do if memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig

_BLOCKS = ("BasicBlock", "Bottleneck", "EncoderBlock", "Block")
"""Class names of the repeated blocks of torchvision's and timm's networks."""


class OutOfMemory(Exception):
    """A step does not fit into memory; the message names three ways out. Nothing is changed silently."""


def checkpoint_blocks(module: nn.Module) -> int:
    """Make every residual or transformer block of ``module`` keep only its input and compute the rest again
    in the backward pass; returns the number of blocks.

    Weights, gradients, batch-norm statistics and the names in the state dict are unchanged: the second pass
    draws the same random numbers and does not update the running statistics.
    """
    blocks = [block for block in module.modules() if type(block).__name__ in _BLOCKS]
    for block in blocks:
        block.forward = _recomputed(block, block.forward)
    return len(blocks)


def _recomputed(block: nn.Module, forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        return nullcontext(), _frozen_statistics(block)

    def run(*inputs: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return forward(*inputs)
        output: Tensor = checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts)
        return output

    return run


@contextmanager
def _frozen_statistics(block: nn.Module) -> Iterator[None]:
    """Batch norm normalises as in training, but keeps its running statistics (a momentum of 0)."""
    before: list[tuple[_BatchNorm, float | None, Tensor, Tensor]] = []
    for norm in block.modules():
        if isinstance(norm, _BatchNorm) and norm.num_batches_tracked is not None:
            before.append((norm, norm.momentum, norm.num_batches_tracked, norm.num_batches_tracked.clone()))
            norm.momentum = 0.0
    try:
        yield
    finally:  # also if an exception ends the second pass early
        for norm, momentum, counter, count in before:
            norm.momentum = momentum
            counter.copy_(count)


@contextmanager
def memory_guard(config: PretrainConfig, workers: int, checkpointed: bool) -> Iterator[None]:
    """Raise ``OutOfMemory`` instead of what torch and Python raise in a pretraining."""
    with _explained(lambda: _advice(config, workers, checkpointed)):
        yield


@contextmanager
def finetune_memory_guard(batch: int, size: int, device: str, checkpointed: bool) -> Iterator[None]:
    """Raise ``OutOfMemory`` instead of what torch and Python raise in a fine-tuning, whose batch is fixed."""
    ways = [] if checkpointed else ["activation_checkpointing (the same result, slower)"]
    ways += ["device=cpu (the same recipe, slower)"] if device != "cpu" else ["a machine with more memory"]
    ways += ["smaller images", "a smaller encoder"]
    problem = f"a fine-tuning in batches of {batch} at {size} px does not fit into memory; use "
    with _explained(lambda: problem + ", or ".join(ways[:3])):
        yield


@contextmanager
def _explained(advice: Callable[[], str]) -> Iterator[None]:
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(advice()) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # torch's CPU allocator has no class of its own
            raise
        raise OutOfMemory(advice()) from error


def _advice(config: PretrainConfig, workers: int, checkpointed: bool) -> str:
    last = "precision=bfloat16" if checkpointed else "activation_checkpointing (the same numbers, slower)"
    if checkpointed and config.precision == "bfloat16":
        last = f"a smaller encoder than {config.encoder}"
    return (
        f"a batch of {config.batch} at {config.image_size} px does not fit into the memory of "
        f"{workers} worker{'s' if workers > 1 else ''}; use batch={config.batch // 2} (another training), "
        f"or workers={workers * 2} (the same one), or {last}"
    )
