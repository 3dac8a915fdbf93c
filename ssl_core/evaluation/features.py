"""Features of a dataset under a frozen encoder, computed once and memory-mapped by every probe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ssl_sweep.data_ops.images import ImageArray
from ssl_sweep.data_ops.preparation.workspace import new_array
from ssl_sweep.data_ops.views.torch_views import pixels_to_input
from ssl_sweep.ssl_core.encoders.base import Encoder


def extract_features(
    encoder: Encoder,
    images: ImageArray,
    out_path: Path,
    *,
    batch_size: int = 512,
    device: str = "cpu",
    layer: str = "",
    head: nn.Module | None = None,
) -> tuple[int, int]:
    """Write features (N, feature_dim) float32 of ``images`` (N, S, S, 3) to a .npy file; returns their shape.

    Eval mode, no gradients, every image once and in order. The batch size does not change the result beyond
    rounding.

    Args:
        encoder: The frozen encoder.
        images: (N, S, S, 3) uint8.
        out_path: The file, written with its folder.
        batch_size: Images per forward pass.
        device: torch's name of the device.
        layer: A block ("layer3", see ``Encoder.stages``): write its pooled output, (N, channels).
        head: A projection head: write its output g(h), (N, head_dim), as the loss sees it, not normalised.

    Raises:
        ValueError: The split is empty, or the encoder does not have this layer.
    """
    if len(images) == 0:
        raise ValueError("no images to extract features from; use a split with at least one image")
    encoder = encoder.to(device).to(memory_format=torch.channels_last)
    encoder.eval()
    if head is not None:
        head.to(device).eval()

    def features_of(part: ImageArray) -> Tensor:
        batch = pixels_to_input(np.asarray(part)).to(device, memory_format=torch.channels_last)
        output: Tensor = encoder.stages(batch, (layer,))[layer] if layer else encoder(batch)
        return head(output) if head is not None else output

    with torch.inference_mode():
        width = features_of(images[:1]).shape[1]
    shape = (len(images), width)
    out_path.parent.mkdir(parents=True, exist_ok=True)
    features = new_array(out_path, np.float32, shape)
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            part = features_of(images[start : start + batch_size])
            features[start : start + len(part)] = part.float().cpu().numpy()
    features.flush()
    return shape
