"""One of several gloo processes: its part of the batches in joined.pt, results to rank<r>.pt. Not a test
itself."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from ssl_core.config import default_config
from ssl_core.distributed import convert_batchnorm
from ssl_core.encoders import torch_seed
from ssl_core.simclr import SimCLR


def simclr_step(views: tuple[torch.Tensor, torch.Tensor], world: int) -> dict[str, object]:
    """Loss and parameter gradients of one SimCLR step, after the mean over workers."""
    with torch_seed(3):
        model = SimCLR(default_config("resnet-demo", 32))
        for (
            parameter
        ) in model.parameters():  # away from the zero gains, so that every parameter has a gradient
            parameter.data += 0.05 * torch.randn_like(parameter)
    convert_batchnorm(model, world, torch.device("cpu"))
    model.train()
    loss, _ = model(*views)
    loss.backward()
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


def main(folder: Path, rank: int, world: int) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    joined = torch.load(folder / "joined.pt", weights_only=True)

    def mine(x: torch.Tensor, dim: int) -> torch.Tensor:
        return x.chunk(world, dim=dim)[rank]

    results = {
        "simclr": simclr_step((mine(joined["view1"], 0), mine(joined["view2"], 0)), world),
        "maps": batch_norm(mine(joined["maps"], 1), mine(joined["maps_target"], 1), world),
        "vectors": batch_norm(mine(joined["vectors"], 1), mine(joined["vectors_target"], 1), world),
    }
    torch.save(results, folder / f"rank{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
