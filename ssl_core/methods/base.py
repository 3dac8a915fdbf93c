"""What every training method is: views in, this worker's share of the loss out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig
from ssl_sweep.ssl_core.encoders.base import Encoder


@dataclass(frozen=True)
class StepOutput:
    """What one step of a method gives."""

    loss: Tensor
    """This worker's share, a scalar: its mean over the workers is the loss of the global batch."""
    features: Tensor
    """(m, feature_dim) of the encoder, one view after the other, to watch for collapse."""


class Method(nn.Module):
    """One way to train an encoder.

    A built-in method is a file with a subclass and an entry of ``config.registry.METHODS``. A method of
    another distribution is an entry point (docs/methods.md).

    The constructor takes ``(config, n_classes, n_images)`` and draws weights from torch's global generator.
    What a method keeps from step to step is a parameter or a buffer, the same on every worker, so that
    checkpoints hold it and a resume is exact. Random numbers come from torch's CPU generator, which the
    trainer seeds for each (seed, step, worker).
    """

    encoder: Encoder
    """The network that is exported."""
    n_views: ClassVar[int] = 2
    """Views of each image that the loader renders."""
    labelled: ClassVar[bool] = False
    """Whether ``forward`` needs labels."""

    @classmethod
    def build_head(cls, config: PretrainConfig, in_dim: int) -> nn.Module:
        """A new projection head for features (n, in_dim), to build it or to load a saved one into.

        Raises:
            ValueError: The method has no projection head.
        """
        raise ValueError(f"method {config.method!r} has no projection head; evaluate the features h")

    def forward(self, views: tuple[Tensor, ...], labels: Tensor | None) -> StepOutput:
        """One step on ``n_views`` views, float32 (n, 3, S, S) each, of the same n images; ``labels`` int64
        (n,)."""
        raise NotImplementedError

    def projection(self) -> nn.Module | None:
        """The head whose output g(h) the loss compares, to be saved beside the encoder; None if the method
        has no head."""
        return None

    def after_step(self, step: int, total_steps: int) -> None:
        """Called on every worker after the optimiser's update of step 0, 1, …: moving averages, queues."""
