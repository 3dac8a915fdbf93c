"""How a step updates the weights: LARS, SGD and AdamW, the learning rate, and whether bfloat16 pays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig

MOMENTUM = 0.9
TRUST_COEFFICIENT = 0.001


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rates (You et al. 2017) in the official SimCLR form (lars_optimizer.py).

    For each tensor w with gradient g::

        g += weight_decay * w
        trust = trust_coefficient * |w| / |g|, or 1 if a norm is 0
        v = momentum * v + lr * trust * g
        w -= v

    The rate is inside the momentum buffer ("classic" momentum), unlike in torch.optim.SGD. A group with
    ``adapt=False`` has trust 1; give it ``weight_decay=0`` too. The form ``you2017`` divides, as the paper
    does, by |g| + weight_decay * |w|, with the gradient before decay.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        *,
        momentum: float = MOMENTUM,
        weight_decay: float = 0.0,
        trust_coefficient: float = TRUST_COEFFICIENT,
        adapt: bool = True,
        form: Literal["official", "you2017"] = "official",
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
            "adapt": adapt,
            "form": form,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update from the gradients; parameters without a gradient stay as they are."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._update(params, group)
        return loss

    def _update(self, params: list[Tensor], group: dict[str, Any]) -> None:
        for p in params:
            if not self.state[p]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        buffers = [self.state[p]["momentum_buffer"] for p in params]
        gradients = [p.grad for p in params if p.grad is not None]
        bare = gradients
        if group["weight_decay"]:
            gradients = list(torch._foreach_add(gradients, params, alpha=group["weight_decay"]))
        torch._foreach_mul_(buffers, group["momentum"])
        if group["adapt"]:
            divisors = bare if group.get("form") == "you2017" else gradients
            norms = torch.stack([*torch._foreach_norm(params), *torch._foreach_norm(divisors)]).view(2, -1)
            if group.get("form") == "you2017":
                norms[1] += group["weight_decay"] * norms[0]
            trust = group["trust_coefficient"] * norms[0] / norms[1]
            trust = torch.where((norms > 0).all(dim=0), trust, 1.0)
            gradients = list(torch._foreach_mul(gradients, list(trust.unbind())))
        torch._foreach_add_(buffers, gradients, alpha=group["lr"])
        torch._foreach_sub_(params, buffers)


def build_optimizer(model: nn.Module, config: PretrainConfig) -> torch.optim.Optimizer:
    """The optimiser of ``config``.

    Biases and norm parameters (all of one dimension) are free of decay and, in LARS, of adaptation. SGD and
    AdamW use torch's fused step on CUDA.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.ndim > 1]
    free = [p for p in trained if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    rate, momentum = config.peak_learning_rate, config.momentum
    fused = True if trained[0].is_cuda else None
    if config.optimizer == "lars":
        groups[1]["adapt"] = False
        return LARS(groups, lr=rate, momentum=momentum, form=config.lars_form)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=(momentum, 0.999), fused=fused)
    return torch.optim.SGD(groups, lr=rate, momentum=momentum, fused=fused)


def learning_rate_at(step: int, *, total_steps: int, warmup_steps: int, peak: float) -> float:
    """Rate of step 0, 1, …: linear from 0 over the warm-up, then half a cosine to 0 at ``total_steps``.

    As in the official SimCLR code, the first step of a warm-up has rate 0.
    """
    if step < warmup_steps:
        return peak * step / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices faster than float32: NVIDIA GPUs from Ampere on, CPUs
    with AVX512-BF16 or AMX.

    A config's ``bfloat16`` is used only then. Other hardware would emulate autocast, slower than float32.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    supported = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    return any(check is not None and check() for check in supported)
