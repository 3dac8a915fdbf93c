"""torchvision's vision transformers (Dosovitskiy et al. 2021), with the class token as representation."""

from __future__ import annotations

from typing import ClassVar

from torch import nn
from torchvision.models.vision_transformer import VisionTransformer

from ssl_sweep.ssl_core.config.registry import patch_side
from ssl_sweep.ssl_core.encoders.base import Encoder

_DEPTH = 12


class StandardViT(VisionTransformer, Encoder):
    """torchvision's VisionTransformer without its classifier; its parameter names are torchvision's.

    Patches have 4 px up to 64 px, else 16 px: 64 patches at 32 px, 196 at 224 px. The feature is the class
    token after the final norm. ``zero_init_residual`` is ignored.

    Raises:
        ValueError: The image size is not a multiple of the patch size.
    """

    fixed_size: ClassVar[bool] = True

    def __init__(
        self, image_size: int, *, zero_init_residual: bool = False, feature_dim: int, heads: int
    ) -> None:
        patch = patch_side(image_size)
        if image_size % patch:
            raise ValueError(
                f"image_size is {image_size}; a ViT cuts it into patches of {patch} px, use a multiple of it"
            )
        super().__init__(image_size, patch, _DEPTH, heads, feature_dim, 4 * feature_dim)
        self.feature_dim = feature_dim
        self.layers = tuple(f"encoder.layers.encoder_layer_{block}" for block in range(_DEPTH))
        self.heads = nn.Identity()
