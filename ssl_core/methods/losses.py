"""Losses over pairs of views. All are computed in float32, also under autocast."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from ssl_sweep.ssl_core.distributed import gather_with_gradient, rank, world_size


def nt_xent(z1: Tensor, z2: Tensor, temperature: float, group: dist.ProcessGroup | None = None) -> Tensor:
    """NT-Xent (Chen et al. 2020, eq. 1): mean cross entropy, in nats, of finding each view's partner among
    all others.

    The 2n local views are the anchors; their candidates are the 2N - 1 other views of the global batch. So
    the mean over workers is the loss of the global batch. Because the gather passes gradients summed over
    workers, the mean over workers of the parameter gradients is its gradient. The mean is over 2N anchors
    (the official code sums the two directions, which is twice this).

    Args:
        z1: Projections (n, d) of this worker's n images under one view; they are L2-normalised here.
        z2: Those under the other view, (n, d).
        temperature: Divides the similarities.
        group: Workers that share the batch; None: all.
    """
    with torch.autocast(z1.device.type, enabled=False):  # it would round the similarities to half precision
        return _nt_xent(F.normalize(torch.cat([z1, z2]).float(), dim=1), temperature, group)


def _nt_xent(local: Tensor, temperature: float, group: dist.ProcessGroup | None) -> Tensor:
    n = len(local) // 2
    everyone, offset = local, 0
    if world_size(group) > 1:
        by_rank = gather_with_gradient(local, group)  # (world, 2n, d), each rank's view 1 before its view 2
        everyone = torch.cat([by_rank[:, :n].flatten(0, 1), by_rank[:, n:].flatten(0, 1)])
        offset = rank(group) * n
    total = len(everyone) // 2
    first = torch.arange(offset, offset + n, device=local.device)
    anchors = torch.cat([first, first + total])
    partners = torch.cat([first + total, first])
    logits = local @ everyone.T / temperature
    logits.scatter_(1, anchors[:, None], -torch.inf)  # no view is its own candidate
    return F.cross_entropy(logits, partners)


def moco_loss(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """InfoNCE over a queue (He et al. 2020, eq. 1): mean cross entropy, in nats, of finding each query's key
    among that key and the whole queue.

    Only the queries get gradients.

    Args:
        queries: (n, d); they are L2-normalised here.
        keys: (n, d), row by row the keys of the queries; they are L2-normalised here.
        queue: (K, d), normalised keys of other images.
        temperature: Divides the similarities.
    """
    with torch.autocast(queries.device.type, enabled=False):
        queries = F.normalize(queries.float(), dim=1)
        keys = F.normalize(keys.detach().float(), dim=1)
        positive = (queries * keys).sum(dim=1, keepdim=True)
        logits = torch.cat([positive, queries @ queue.detach().float().T], dim=1) / temperature
        return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.int64))


def byol_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """One direction of BYOL's loss (Grill et al. 2020, eq. 2): mean of 2 - 2 cos.

    This is the mean squared distance of the normalised ``prediction`` (n, d) from the normalised ``target``
    (n, d). Only the prediction gets gradients.
    """
    with torch.autocast(prediction.device.type, enabled=False):
        cosine = F.cosine_similarity(prediction.float(), target.detach().float(), dim=1, eps=1e-12)
        return (2 - 2 * cosine).mean()
