"""Vision transformers (Dosovitskiy et al. 2021), torchvision's, with the class token as representation."""

from __future__ import annotations

from typing import ClassVar

from torch import nn
from torchvision.models.vision_transformer import VisionTransformer

from ssl_sweep.ssl_core.encoders.base import Encoder

_DEPTH = 12
_LARGE_PATCH, _SMALL_PATCH = 16, 4


class StandardViT(VisionTransformer, Encoder):
    """torchvision's VisionTransformer without its classifier; its parameter names are torchvision's.

    Patches are of 16 px, of 4 px for `small_images`: 196 of them at 224 px, 64 at 32 px. The feature is the
    class token after the final norm. ValueError where the patches do not fill the image.
    """

    fixed_size: ClassVar[bool] = True

    def __init__(self, image_size: int, *, feature_dim: int, heads: int, small_images: bool) -> None:
        patch = _SMALL_PATCH if small_images else _LARGE_PATCH
        if image_size % patch:
            raise ValueError(
                f"image_size is {image_size}; a ViT cuts it into patches of {patch} px, use a multiple of it"
            )
        super().__init__(image_size, patch, _DEPTH, heads, feature_dim, 4 * feature_dim)
        self.feature_dim = feature_dim
        self.layers = tuple(f"encoder.layers.encoder_layer_{block}" for block in range(_DEPTH))
        self.heads = nn.Identity()
