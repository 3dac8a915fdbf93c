"""The same views as most PyTorch code makes them: torchvision or lightly in the workers of a DataLoader."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from ssl_sweep.data_ops.views.policy import ViewPolicy

Views = tuple[torch.Tensor, torch.Tensor]


class Pictures(Dataset[Any]):
    """PIL images from pixels in memory, or decoded from JPEG files at every access; label 0. As torchvision's
    datasets it applies `transform`, which lightly sets."""

    def __init__(self, images: npt.NDArray[np.uint8] | list[Path]) -> None:
        self.images = images
        self.transform: Callable[[Image.Image], Any] = lambda image: image

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        stored = self.images[index]
        image = Image.open(stored).convert("RGB") if isinstance(stored, Path) else Image.fromarray(stored)
        return self.transform(image), 0


class TorchvisionViews(Dataset[Views]):
    """Two views of each picture by torchvision's own random transforms."""

    def __init__(self, pictures: Pictures, policy: ViewPolicy) -> None:
        self._pictures = pictures
        jitter = v2.ColorJitter(policy.brightness, policy.contrast, policy.saturation, policy.hue)
        blur = v2.GaussianBlur(policy.blur_kernel, policy.blur_sigma)
        steps: list[torch.nn.Module] = [
            v2.RandomResizedCrop(policy.size, policy.scale, policy.ratio),
            v2.RandomHorizontalFlip(policy.flip),
            v2.RandomApply([jitter], policy.jitter),
            v2.RandomGrayscale(policy.grayscale),
            *([v2.RandomApply([blur], policy.blur)] if policy.blur else []),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.25] * 3),
        ]
        self._transform = v2.Compose(steps)

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> Views:
        image, _ = self._pictures[index]
        return self._transform(image), self._transform(image)


def lightly_views(pictures: Pictures, policy: ViewPolicy) -> Dataset[Any]:
    """lightly's SimCLR transform of the same strength and blur in lightly's dataset."""
    from lightly.data import LightlyDataset
    from lightly.transforms import SimCLRTransform

    transform = SimCLRTransform(policy.size, cj_strength=policy.brightness / 0.8, gaussian_blur=policy.blur)
    dataset: Dataset[Any] = LightlyDataset.from_torch_dataset(Pictures(pictures.images), transform=transform)
    return dataset


def epoch_of_workers(dataset: Dataset[Any], batch: int, workers: int) -> Callable[[], None]:
    """One shuffled pass through a DataLoader whose workers end with it, so that their CPU time is counted;
    forking them takes about 0.05 s."""

    def epoch() -> None:
        for _ in DataLoader(dataset, batch, shuffle=True, num_workers=workers, drop_last=True):
            pass

    return epoch


def write_jpegs(folder: Path, n: int) -> list[Path]:
    """n JPEG files of 500 x 375 pixels and about 90 KB, as ImageNet's are: smooth colours and noise."""
    rng = np.random.default_rng(0)
    files = []
    for i in range(n):
        coarse = torch.from_numpy(rng.uniform(-40, 295, (1, 3, 12, 16)))
        smooth = torch.nn.functional.interpolate(coarse, (375, 500), mode="bicubic")[0].permute(1, 2, 0)
        pixels = np.clip(smooth.numpy() + rng.normal(0, 9, (375, 500, 1)), 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
        files.append(folder / f"{i:05d}.jpg")
        files[-1].write_bytes(buffer.getvalue())
    return files
