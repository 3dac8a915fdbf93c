"""Resident memory of a training after each of 50 epochs: it has to be flat.

    python benchmarks/memory_over_epochs.py

Trains the demo encoder on 512 images in this process and prints the resident set after epochs 5, 10, … and
the growth from epoch 10 on. On a GPU the device's peak is printed too.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from machine import header

from ssl_sweep.ssl_core.config.pretrain import default_config
from ssl_sweep.ssl_core.config.registry import METHODS
from ssl_sweep.ssl_core.training.data import TrainingImages
from ssl_sweep.ssl_core.training.reporter import EpochRecord, LocalReporter
from ssl_sweep.ssl_core.training.trainer import RuntimeOptions, pretrain


def resident_mb() -> float:
    fields = Path("/proc/self/status").read_text().split("VmRSS:")[1].split()
    return int(fields[0]) / 1024


class Watching(LocalReporter):
    """Notes the resident set at the end of every epoch."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.resident: list[float] = []

    def log(self, record: EpochRecord) -> None:
        super().log(record)
        self.resident.append(resident_mb())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--method", default="simclr", choices=METHODS)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    print(header("torch"))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (512, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, 512)
    data = TrainingImages(images, np.arange(512, dtype=np.uint64), labels, 10)
    config = default_config("resnet-demo", 32, method=args.method, epochs=args.epochs, batch=128)
    with tempfile.TemporaryDirectory() as folder:
        reporter = Watching(Path(folder))
        options = RuntimeOptions(device=args.device, checkpoint_every_s=2)
        pretrain(config, data, Path(folder), reporter, options)
    shown = [f"{epoch}: {reporter.resident[epoch - 1]:.0f}" for epoch in range(5, args.epochs + 1, 5)]
    print(f"{args.method}, resident MB after epoch {', '.join(shown)}")
    print(f"growth from epoch 10 to {args.epochs}: {reporter.resident[-1] - reporter.resident[9]:.1f} MB")
    if args.device == "cuda":
        print(f"device memory, peak: {torch.cuda.max_memory_allocated() / 2**20:.0f} MB")


if __name__ == "__main__":
    main()
