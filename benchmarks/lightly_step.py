"""A SimCLR training against lightly's: its transforms, loss, head and collate in a DataLoader with 2 workers.

Both sides train the same encoder on the same images, batch and cores for some steps, in alternating blocks in
one process; wall time per step includes waiting for the batch. Ours runs in float32 and in bfloat16 autocast,
lightly in float32, as its examples do on a CPU, and in bfloat16 as well. Needs the extra `bench`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform
from machine import header
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from ssl_sweep.data_ops.views.backend import choose_views
from ssl_sweep.data_ops.views.loader import ViewLoader
from ssl_sweep.ssl_core.config.pretrain import default_config
from ssl_sweep.ssl_core.config.registry import ENCODERS
from ssl_sweep.ssl_core.encoders.build import build_encoder, torch_seed
from ssl_sweep.ssl_core.training.data import TrainingImages
from ssl_sweep.ssl_core.training.optim import LARS
from ssl_sweep.ssl_core.training.trainer import Training

SKIPPED = 3  # steps of a block: more than either side prefetches before the clock runs
IMAGES = 4096


class PilImages(Dataset[list[torch.Tensor]]):
    """lightly's way: a PIL image in, two views out."""

    def __init__(self, images: np.ndarray, transform: SimCLRTransform) -> None:
        self.images = [Image.fromarray(image) for image in images]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> list[torch.Tensor]:
        views: list[torch.Tensor] = self.transform(self.images[index])
        return views


class Lightly:
    """lightly's SimCLR example with our encoder and its own head, loss and loader."""

    def __init__(self, encoder: str, images: np.ndarray, batch: int, bfloat16: bool) -> None:
        size = images.shape[1]
        with torch_seed(0):
            self.encoder = build_encoder(encoder, size)
            width = self.encoder.feature_dim
            self.head = SimCLRProjectionHead(width, width, 128)
        self.loss = NTXentLoss(temperature=0.5)
        parameters = [*self.encoder.parameters(), *self.head.parameters()]
        self.optimizer = LARS([{"params": parameters, "weight_decay": 1e-4}], lr=0.1)
        transform = SimCLRTransform(input_size=size, cj_strength=0.5, gaussian_blur=0.0)
        self.loader = DataLoader(
            PilImages(images, transform),
            batch,
            shuffle=True,
            drop_last=True,
            num_workers=2,
            persistent_workers=True,
        )
        self.bfloat16 = bfloat16
        self.batches = self.endless()

    def endless(self) -> Iterator[list[torch.Tensor]]:
        while True:
            yield from self.loader

    def step(self) -> None:
        first, second = next(self.batches)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            z1, z2 = self.head(self.encoder(first)), self.head(self.encoder(second))
            loss = self.loss(z1.float(), z2.float())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


class Ours:
    """The trainer's own step on the real pipeline."""

    def __init__(self, encoder: str, images: np.ndarray, batch: int, bfloat16: bool) -> None:
        precision = "bfloat16" if bfloat16 else "float32"
        config = default_config(encoder, images.shape[1], batch=batch, precision=precision)
        self.views = choose_views(config.views, "auto", batch, cuda=False)
        loader = ViewLoader(
            images, np.arange(len(images), dtype=np.uint64), batch=batch, seed=0, views=self.views
        )
        with torch_seed(0):
            data = TrainingImages(images, np.arange(len(images), dtype=np.uint64))
            self.training = Training(config, loader, torch.device("cpu"), data)
        self.training.model.train()
        self.batches = loader.batches(0, 10**9)

    def step(self) -> None:
        self.training.step(self.training.model, next(self.batches))

    def close(self) -> None:
        self.batches.close()  # type: ignore[attr-defined]
        self.views.close()


def timed(side: Lightly | Ours, steps: int) -> list[float]:
    seconds = []
    for _ in range(SKIPPED + steps):
        before = time.perf_counter()
        side.step()
        seconds.append(time.perf_counter() - before)
    return seconds[SKIPPED:]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", default="resnet18", choices=ENCODERS)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    args = parser.parse_args()
    print(header("torch", "lightly"))
    torch.set_num_threads(os.cpu_count() or 1)
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, args.size, args.size, 3), dtype=np.uint8)
    found: dict[str, float] = {}
    for bfloat16 in (False, True):
        name = "bfloat16" if bfloat16 else "float32"
        lightly = Lightly(args.encoder, images, args.batch, bfloat16)
        with closing(Ours(args.encoder, images, args.batch, bfloat16)) as ours:
            times: dict[str, list[float]] = {"lightly": [], "ours": []}
            for _ in range(args.rounds):
                times["lightly"] += timed(lightly, args.steps)
                times["ours"] += timed(ours, args.steps)
        for side, seconds in times.items():
            found[f"{side} {name}"] = statistics.median(seconds)
        del lightly
    base = found["lightly float32"]
    print(f"{args.encoder}, {args.size} px, batch {args.batch}: ms a step, speed against lightly float32")
    for label, seconds in found.items():
        speed = f"{args.batch / seconds:8.0f} images/s  {base / seconds:5.2f}x"
        print(f"{label:18} {seconds * 1e3:8.1f} ms  {speed}")
    print(
        f"at equal precision: float32 {base / found['ours float32']:.2f}x,"
        f" bfloat16 {found['lightly bfloat16'] / found['ours bfloat16']:.2f}x"
    )


if __name__ == "__main__":
    main()
