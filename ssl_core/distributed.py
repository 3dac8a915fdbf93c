"""Several workers as one: collectives that pass gradients, and batch norm over the global batch.

The convention: a worker's loss is its share of a sum over workers. So the backward pass of a sum over workers
is a sum over workers, and the global gradient is the sum (for mean losses: the mean) of the workers'
parameter gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

Group = dist.ProcessGroup | None


def rank(group: Group = None) -> int:
    """Index of this worker; 0 in a single process."""
    return dist.get_rank(group) if _initialised() else 0


def world_size(group: Group = None) -> int:
    """Number of workers; 1 in a single process."""
    return dist.get_world_size(group) if _initialised() else 1


def own_share(n: int, draw: Callable[[int], Tensor]) -> Tensor:
    """This worker's n rows of what ``draw(rows)`` gives for the images of all workers.

    All workers' generators have the same state. A method that draws numbers per image draws them this way, so
    that what it learns does not depend on the number of workers.
    """
    return draw(n * world_size())[rank() * n :][:n]


def _initialised() -> bool:
    return dist.is_available() and dist.is_initialized()


def gather(x: Tensor, group: Group = None) -> Tensor:
    """(world, *x.shape) in the order of ranks, without gradient; x has the same shape on every worker."""
    if world_size(group) == 1:
        return x.detach()[None]
    gathered = x.new_empty((world_size(group), *x.shape))
    dist.all_gather(list(gathered.unbind(0)), x.detach().contiguous(), group=group)
    return gathered


def gather_with_gradient(x: Tensor, group: Group = None) -> Tensor:
    """(world, *x.shape) in the order of ranks; x has the same shape on every worker."""
    gathered: Tensor = _Gather.apply(x, group)
    return gathered


def sum_with_gradient(x: Tensor, group: Group = None) -> Tensor:
    """Sum of x over the workers, on each of them."""
    total: Tensor = _Sum.apply(x, group)
    return total


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        ctx.group = group
        gathered = x.new_empty((world_size(group), *x.shape))
        dist.all_gather(list(gathered.unbind(0)), x.contiguous(), group=group)
        return gathered

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient, group=ctx.group)  # the loss of every worker depends on this worker's x
        return gradient[rank(ctx.group)], None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        ctx.group = group
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient, group=ctx.group)
        return gradient, None


class GlobalBatchNorm(_BatchNorm):
    """Batch norm over the batches of all workers together, for the CPU, which torch's SyncBatchNorm does not
    support.

    Outputs, gradients and running statistics are those of BatchNorm on the joined batch, and its state dict
    has BatchNorm's keys. It needs one all-reduce of 2C + 1 numbers per direction, in float64, because a
    variance computed from two sums loses digits.
    """

    def _check_input_dim(self, x: Tensor) -> None:
        if x.dim() < 2:
            raise ValueError(f"batch norm takes (n, channels, ...), not {tuple(x.shape)}")

    def forward(self, x: Tensor) -> Tensor:
        self._check_input_dim(x)
        if not self.training:
            return super().forward(x)
        values = x.float()
        reduced = [0, *range(2, x.dim())]
        local_count = values.numel() // values.shape[1]
        local_var, local_mean = torch.var_mean(values, dim=reduced, correction=0)
        local_var, local_mean = local_var.double(), local_mean.double()
        sums = torch.cat(
            [
                local_count * local_mean,
                local_count * (local_var + local_mean**2),
                local_mean.new_tensor([local_count]),
            ]
        )
        sums = sum_with_gradient(sums)
        count = sums[-1].detach()
        mean, mean_square = (sums[:-1] / count).chunk(2)
        var = mean_square - mean**2
        self._track(mean.detach(), (var * count / (count - 1)).detach())
        shape = (1, -1, *[1] * (x.dim() - 2))
        gain = torch.rsqrt(var + self.eps).float() * self.weight
        y = torch.addcmul(self.bias.view(shape), values - mean.float().view(shape), gain.view(shape))
        return y.to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, unbiased_var: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.float(), self.momentum)
        self.running_var.lerp_(unbiased_var.float(), self.momentum)


def convert_batchnorm(module: nn.Module, world: int, device: torch.device) -> nn.Module:
    """``module`` with batch-norm statistics over all workers.

    It is unchanged for one worker; norms become SyncBatchNorm on CUDA, ``GlobalBatchNorm`` on other devices.
    Parameters, buffers and the keys of the state dict are kept.
    """
    if world == 1:
        return module
    if device.type == "cuda":
        synchronised: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return synchronised
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm) and not isinstance(child, GlobalBatchNorm):
                setattr(parent, name, _as_global(child))
    return module


def _as_global(norm: _BatchNorm) -> GlobalBatchNorm:
    converted = GlobalBatchNorm(norm.num_features, norm.eps, norm.momentum)
    converted.weight, converted.bias = norm.weight, norm.bias
    converted.running_mean, converted.running_var = norm.running_mean, norm.running_var
    converted.num_batches_tracked = norm.num_batches_tracked
    return converted.train(norm.training)
