"""What every encoder is, and how the output of any of its blocks is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn


class Encoder(nn.Module):
    """A module from normalised images (n, 3, S, S) to features (n, feature_dim).

    A new encoder is a class with a constructor ``(image_size, *, zero_init_residual, **options)`` and an
    entry of ``config.registry.ENCODERS``, or an entry point of another distribution (docs/methods.md).
    """

    feature_dim: int
    layers: tuple[str, ...]
    """Names of the modules whose output ``stages`` gives, from input to output."""
    fixed_size: ClassVar[bool] = False
    """Whether it takes only images of the size it was built for."""

    def stages(self, images: Tensor, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        """The pooled outputs (n, channels) of some ``layers``, or of all if None, in one pass.

        Maps (n, c, h, w) are averaged over the positions. From tokens (n, t, c) the class token is taken,
        before the final norm. A layer may be the name of any module.

        Raises:
            ValueError: The encoder has no such module.
        """
        wanted = self.layers if layers is None else tuple(layers)
        modules = dict(self.named_modules())
        for layer in wanted:
            if layer not in modules or not layer:
                raise ValueError(
                    f"layer is {layer!r}; this encoder has {', '.join(self.layers)} (or any module's name)"
                )
        pooled: dict[str, Tensor] = {}

        def keep(layer: str) -> Any:
            return lambda module, inputs, output: pooled.__setitem__(layer, _pool(output))

        handles = [modules[layer].register_forward_hook(keep(layer)) for layer in wanted]
        try:
            self(images)
        finally:
            for handle in handles:
                handle.remove()
        return {layer: pooled[layer] for layer in wanted}


def _pool(output: Tensor) -> Tensor:
    if output.ndim == 4:
        return output.mean((2, 3))
    return output[:, 0] if output.ndim == 3 else output
