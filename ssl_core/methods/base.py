"""What every training method is: views in, this worker's share of the loss out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ssl_sweep.ssl_core.encoders.registry import Encoder


@dataclass(frozen=True)
class StepOutput:
    """`loss`, a scalar, is this worker's share: its mean over the workers is the loss of the global batch.
    `features` (m, feature_dim) are the encoder's of this step, those of one view after the other, for the
    watch over collapse."""

    loss: Tensor
    features: Tensor


class Method(nn.Module):
    """One way to train an encoder. A method is a file with one of these and a line in the registry, or an
    entry point of another distribution (docs/methods.md).

    The constructor takes `(config, n_classes, n_images)` and draws weights from torch's global generator.
    `encoder` is what is exported. What the method keeps from step to step is a parameter or a buffer, the
    same on every worker, so that checkpoints hold it and a resume is exact. Random numbers come from
    torch's CPU generator, which the trainer seeds for each (seed, step, worker).
    """

    encoder: Encoder
    n_views: ClassVar[int] = 2
    """Views of each image that the loader renders."""
    labelled: ClassVar[bool] = False
    """Whether `forward` needs labels."""

    def forward(self, views: tuple[Tensor, ...], labels: Tensor | None) -> StepOutput:
        """Loss of `n_views` views, float32 (n, 3, S, S) each, of the same n images; `labels` int64 (n,)."""
        raise NotImplementedError

    def projection(self) -> nn.Module | None:
        """The head whose output g(h) the loss compares, kept beside the encoder; None where there is none."""
        return None

    def after_step(self, step: int, total_steps: int) -> None:
        """What follows the optimiser's update of step 0, 1, …, on every worker alike: moving averages,
        queues."""
