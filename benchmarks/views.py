"""Speed of the view back ends on CPU against a torchvision-v2 PIL DataLoader doing the same policy.

All contenders run in one process, in turn, for some rounds; the table gives medians. An image means two views
of it, normalised float32 tensors, from uint8 pixels in memory. CPU time counts every thread and worker
process: on a busy machine it is the number to trust.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from data_ops.loader import ViewLoader
from data_ops.view_backend import ViewBackend, choose_views
from data_ops.views import ViewPolicy, simclr_policy

REFERENCE = "torchvision PIL"


class PilViews(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Two views of each image by torchvision's own random transforms, as most PyTorch SimCLR code makes
    them."""

    def __init__(self, images: npt.NDArray[np.uint8], policy: ViewPolicy) -> None:
        self._images = images
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
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = Image.fromarray(self._images[index])
        return self._transform(image), self._transform(image)


def cpu_seconds() -> float:
    """Of this process and its ended children, all threads."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def epoch_of_ours(views: ViewBackend, images: npt.NDArray[np.uint8], batch: int) -> Callable[[], None]:
    loader = ViewLoader(images, np.arange(len(images), dtype=np.uint64), batch=batch, seed=0, views=views)

    def epoch() -> None:
        for _ in loader.batches(0, loader.steps_per_epoch):
            pass

    return epoch


def epoch_of_torchvision(
    policy: ViewPolicy, images: npt.NDArray[np.uint8], batch: int, workers: int
) -> Callable[[], None]:
    dataset = PilViews(images, policy)

    def epoch() -> None:
        # workers that end with the epoch, so that their CPU time is counted; forking them takes about 0.05 s
        for _ in DataLoader(dataset, batch, shuffle=True, num_workers=workers, drop_last=True):
            pass

    return epoch


def measure(epochs: dict[str, Callable[[], None]], rounds: int) -> dict[str, tuple[float, float]]:
    """Median (wall, CPU) seconds of an epoch of each contender, taken in turn; one round before does not
    count."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in epochs}
    for turn in range(rounds + 1):
        for name, epoch in epochs.items():
            wall, cpu = time.perf_counter(), cpu_seconds()
            epoch()
            if turn > 0:
                seconds[name].append((time.perf_counter() - wall, cpu_seconds() - cpu))
    return {
        name: (statistics.median(w for w, _ in runs), statistics.median(c for _, c in runs))
        for name, runs in seconds.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--size", type=int, default=32, help="pixels, stored and rendered (32)")
    parser.add_argument("--images", type=int, default=2048, help="images of an epoch (2048)")
    parser.add_argument("--batch", type=int, default=256, help="images of a batch (256)")
    parser.add_argument("--rounds", type=int, default=3, help="epochs measured of each contender (3)")
    parser.add_argument(
        "--workers", type=int, default=2, help="processes of the DataLoader, threads of ours (2)"
    )
    parser.add_argument("--no-dali", action="store_true", help="leave DALI's CPU path out")
    options = parser.parse_args()

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (options.images, 3, 8, 8)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, (options.size, options.size), mode="bicubic")
    images = smooth.clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
    policy = simclr_policy(options.size)

    epochs = {REFERENCE: epoch_of_torchvision(policy, images, options.batch, options.workers)}
    for mode in ("exact", "affine"):
        chosen = replace(policy, mode=mode)
        for threads in sorted({1, options.workers}):
            views = choose_views(chosen, "torch", options.batch, cuda=False, threads=threads)
            epochs[f"{views.name}, {threads} thr."] = epoch_of_ours(views, images, options.batch)
        if not options.no_dali:
            views = choose_views(chosen, "dali", options.batch, cuda=False, threads=options.workers)
            epochs[f"{views.name}, {options.workers} thr."] = epoch_of_ours(views, images, options.batch)

    medians = measure(epochs, options.rounds)
    counted = options.images // options.batch * options.batch
    base_wall, base_cpu = medians[REFERENCE]
    print(f"{options.size} px, batch {options.batch}, two views per image, median of {options.rounds} epochs")
    print(f"{'':26}{'images/s':>10}{'ratio':>8}{'CPU-ms/image':>14}{'CPU ratio':>11}")
    for name, (wall, cpu) in medians.items():
        speed, cost = f"{counted / wall:10.0f}{base_wall / wall:8.1f}", cpu / counted * 1e3
        print(f"{name:26}{speed}{cost:14.3f}{base_cpu / cpu:11.1f}")


if __name__ == "__main__":
    main()
