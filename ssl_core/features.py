"""Features of a dataset under a frozen encoder, written once and memory-mapped by every probe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from data_ops.images import ImageArray
from data_ops.torch_views import pixels_to_input
from ssl_core.encoders import Encoder


def extract_features(
    encoder: Encoder,
    images: ImageArray,
    out_path: Path,
    *,
    batch_size: int = 512,
    device: str = "cpu",
) -> tuple[int, int]:
    """Write features (N, feature_dim) float32 of `images` (N, S, S, 3) to the .npy file `out_path`;
    returns its shape.

    Eval mode, no gradients, clean images, every image once and in order; the batch size does not change
    the result beyond rounding. ValueError where there are no images.
    """
    if len(images) == 0:
        raise ValueError("no images to extract features from; give the split at least one")
    encoder = encoder.to(device).to(memory_format=torch.channels_last)
    encoder.eval()
    shape = (len(images), encoder.feature_dim)
    out_path.parent.mkdir(parents=True, exist_ok=True)
    features = np.lib.format.open_memmap(out_path, mode="w+", dtype=np.float32, shape=shape)
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            batch = pixels_to_input(np.asarray(images[start : start + batch_size]))
            batch = batch.to(device, memory_format=torch.channels_last)
            features[start : start + len(batch)] = encoder(batch).float().cpu().numpy()
    features.flush()
    return shape
