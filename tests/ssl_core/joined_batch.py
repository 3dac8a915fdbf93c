"""What one process gives on the whole of some batches, and each of several on its part. Not a test itself."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn
from training_case import CURVES

from ssl_sweep.ssl_core.config.pretrain import default_config
from ssl_sweep.ssl_core.distributed import convert_batchnorm
from ssl_sweep.ssl_core.encoders.build import torch_seed
from ssl_sweep.ssl_core.methods.build import build_method


def method_step(method: str, views: tuple[torch.Tensor, ...], world: int) -> dict[str, object]:
    """Loss and parameter gradients of one step, after the mean over workers, and what it left behind."""
    with torch_seed(3):
        config = default_config("resnet-demo", 32, method=method, batch=4)
        model = build_method(config, n_images=16)
        for parameter in model.parameters():  # away from zero gains: every parameter then has a gradient
            parameter.data += 0.05 * torch.randn_like(parameter)
    convert_batchnorm(model, world, torch.device("cpu"))
    model.train()
    with torch_seed(4):
        loss = model(views[: model.n_views], None).loss
    loss.backward()
    model.after_step(0, 10)
    loss = loss.detach().clone()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    if world > 1:
        for tensor in (loss, *gradients.values()):
            dist.all_reduce(tensor)
            tensor /= world
    return {"loss": loss, "gradients": gradients, "state": model.state_dict()}


def batch_norm(x: torch.Tensor, target: torch.Tensor, world: int) -> dict[str, object]:
    """Two training passes of a batch norm and one in eval mode; the loss is a sum over images, so
    gradients add up."""
    norm = nn.BatchNorm2d(x.shape[2]) if x.dim() == 5 else nn.BatchNorm1d(x.shape[2])
    with torch_seed(1):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    module = convert_batchnorm(nn.Sequential(norm), world, torch.device("cpu"))
    module.train()
    inputs = [part.clone().requires_grad_() for part in x]
    outputs = [module(part) for part in inputs]
    sum(((y - t) ** 3).sum() for y, t in zip(outputs, target, strict=True)).backward()
    gradients = [p.grad for p in module.parameters()]
    if world > 1:
        for gradient in gradients:
            dist.all_reduce(gradient)
    module.eval()
    return {
        "outputs": torch.stack(outputs).detach(),
        "input_gradients": torch.stack([part.grad for part in inputs]),
        "gradients": gradients,
        "state": module.state_dict(),
        "eval": module(x[0]).detach(),
    }


def all_cases(joined: dict[str, torch.Tensor], rank: int = 0, world: int = 1) -> dict[str, dict[str, object]]:
    """Results on part `rank` of `world` of the joined batches."""

    def mine(name: str, dim: int) -> torch.Tensor:
        return joined[name].chunk(world, dim=dim)[rank]

    return {
        **{name: method_step(name, (mine("view1", 0), mine("view2", 0)), world) for name in CURVES},
        "maps": batch_norm(mine("maps", 1), mine("maps_target", 1), world),
        "vectors": batch_norm(mine("vectors", 1), mine("vectors_target", 1), world),
    }


def joined_batches(images: int) -> dict[str, torch.Tensor]:
    """Batches whose halves differ in mean and spread."""
    g = torch.Generator().manual_seed(0)
    scale = torch.linspace(0.3, 3.0, images)
    pictures = torch.randn(images, 3, 32, 32, generator=g) * scale.view(-1, 1, 1, 1) + scale.view(-1, 1, 1, 1)
    return {
        "view1": pictures,
        "view2": pictures.flip(3) + 0.5 * torch.randn(pictures.shape, generator=g),
        "maps": torch.randn(2, images, 5, 3, 4, generator=g) * scale.view(1, -1, 1, 1, 1) + 30,
        "maps_target": torch.randn(2, images, 5, 3, 4, generator=g),
        "vectors": torch.randn(2, images, 7, generator=g) * scale.view(1, -1, 1),
        "vectors_target": torch.randn(2, images, 7, generator=g),
    }
