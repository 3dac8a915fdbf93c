"""Whether a training collapses: label-free measures of features, and nearest neighbours on a labelled slice.

Measuring draws no random numbers and does not change what it measures.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_sweep.data_ops.images import ImageArray
from ssl_sweep.data_ops.views.torch_views import pixels_to_input
from ssl_sweep.ssl_core.distributed import gather, rank, world_size
from ssl_sweep.ssl_core.encoders.base import Encoder

ROWS = 2048
"""About how many features, over all workers, the measures of an epoch use."""
_PAIRWISE_ROWS = 1024  # uniformity is quadratic in them
_NEIGHBOURS, _TEMPERATURE = 20, 0.1
_BATCH = 256


@dataclass(frozen=True)
class LabelledSlice:
    """Labelled images that the training does not learn from: a few hundred to a few thousand, since each is
    compared with all others."""

    images: ImageArray
    """(n, S, S, 3) uint8."""
    labels: npt.NDArray[np.int64]
    """(n,)."""


@dataclass(frozen=True)
class FeatureReport:
    """See the functions of the same names; ``alignment`` is None for methods of one view."""

    rankme: float
    alignment: float | None
    uniformity: float


class FeatureWatch:
    """Keeps the features of the epoch's last steps, up to about ``ROWS`` of all workers together.

    With ``two_views``, the features of a step are divided by view if it gives those of both.
    """

    def __init__(self, two_views: bool) -> None:
        self._two_views = two_views
        self._kept: deque[Tensor] = deque()  # (views, rows, d) of each step

    def add(self, features: Tensor, images: int, workers: int) -> None:
        """Take the features (m, d) of one step of this worker on ``images`` images."""
        paired = self._two_views and len(features) == 2 * images
        self._kept.append(features.detach().unflatten(0, (2 if paired else 1, -1)))
        most = max(1, math.ceil(ROWS / (len(features) * workers)))
        while len(self._kept) > most:
            self._kept.popleft()

    def state(self) -> Tensor:
        """The kept features of all workers, (world, steps, views, rows, d), for a checkpoint. Collective."""
        return gather(torch.stack(list(self._kept)).float()) if self._kept else torch.empty(0)

    def restore(self, state: Tensor, device: torch.device) -> None:
        """Continue from ``state``, on the device of the next steps' features. A state of another number of
        workers is ignored."""
        if len(state) == world_size():
            self._kept = deque(state[rank()].to(device).unbind(0))

    def report(self) -> FeatureReport:
        """Measure the kept features, and drop them. Collective: every worker calls this."""
        views = self.state().movedim(2, 0).flatten(1, 3).double()  # (views, rows, d)
        self._kept.clear()
        return FeatureReport(
            rankme=rankme(views.flatten(0, 1)),
            alignment=alignment(views[0], views[1]) if len(views) == 2 else None,
            uniformity=uniformity(views[0]),
        )


def rankme(features: Tensor) -> float:
    """Effective rank of features (n, d) (Garrido et al. 2023, eq. 1): the exponential of the entropy of their
    singular values divided by their sum. 1 for a collapse to a line; at most min(n, d)."""
    z = features.double()
    gram = z.T @ z if z.shape[1] <= z.shape[0] else z @ z.T
    singular = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    share = singular / singular.sum().clamp(min=1e-300)
    return float(torch.exp(torch.special.entr(share).sum()))


def alignment(first: Tensor, second: Tensor) -> float:
    """Mean squared distance of the L2-normalised features (n, d) of two views of the same images (Wang and
    Isola 2020, alpha 2): 0 if views do not matter, 2 for unrelated features."""
    one, two = F.normalize(first.double(), dim=1), F.normalize(second.double(), dim=1)
    return float((one - two).square().sum(dim=1).mean())


def uniformity(features: Tensor) -> float:
    """Log of the mean of exp(-2 |x - y|^2) over pairs of distinct L2-normalised features (n, d), of at most
    the first 1,024 (Wang and Isola 2020, t = 2): 0 for a collapse, towards -4 on the whole sphere."""
    z = F.normalize(features[:_PAIRWISE_ROWS].double(), dim=1)
    if len(z) < 2:
        return 0.0
    return float(torch.pdist(z).square().mul(-2).exp().mean().log())


def knn_accuracy(encoder: Encoder, watched: LabelledSlice, device: torch.device) -> float:
    """Share of the images whose neighbours vote for the right label (Wu et al. 2018).

    Each image is compared with the others of the slice: its 20 nearest by cosine similarity vote with weights
    exp(similarity / 0.1).
    """
    z = F.normalize(_features(encoder, watched.images, device), dim=1)
    _, labels = np.unique(watched.labels, return_inverse=True)
    own = torch.from_numpy(labels).to(device)
    similarity = z @ z.T
    similarity.fill_diagonal_(-torch.inf)
    near, which = similarity.topk(min(_NEIGHBOURS, len(z) - 1), dim=1)
    votes = z.new_zeros(len(z), int(own.max()) + 1).scatter_add_(1, own[which], (near / _TEMPERATURE).exp())
    return float((votes.argmax(dim=1) == own).double().mean())


@torch.no_grad()
def _features(encoder: Encoder, images: ImageArray, device: torch.device) -> Tensor:
    with _eval_mode(encoder):
        parts = []
        for start in range(0, len(images), _BATCH):
            batch = pixels_to_input(np.asarray(images[start : start + _BATCH]))
            parts.append(encoder(batch.to(device, memory_format=torch.channels_last)).float())
    return torch.cat(parts)


@contextmanager
def _eval_mode(module: nn.Module) -> Iterator[None]:
    """Eval mode inside the block; every module's own mode is restored after it."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, training in modes:
            m.training = training
