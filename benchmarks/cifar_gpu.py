"""SimCLR on CIFAR-10: ResNet-18 with the small stem, the CIFAR preset, batch 512, 200 epochs, judged after
every few epochs by nearest neighbours of the test images among all training images (k 200, temperature 0.1),
as lightly's benchmark is: 84.8 % at 200 epochs, 87 minutes on an A6000. No other point of its curve is known
here. Nothing is chosen by the accuracy.

Takes a folder of CIFAR-10 (see cifar_data.py). Runs in parts: after --minutes it keeps a checkpoint in --out
and ends with exit code 3; the same command goes on. Neither Ray nor MLflow is needed. To try it out on a CPU:
`cifar_gpu.py --data DIR --out DIR --encoder resnet-demo --batch 128 --epochs 1 --images 2000`.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from cifar_data import SIZE, read
from machine import header
from torch import Tensor

from ssl_sweep.data_ops.hashing import hash64
from ssl_sweep.data_ops.views.torch_views import pixels_to_input
from ssl_sweep.ssl_core.config.pretrain import default_config
from ssl_sweep.ssl_core.config.registry import ENCODERS
from ssl_sweep.ssl_core.encoders.base import Encoder
from ssl_sweep.ssl_core.training.data import TrainingImages
from ssl_sweep.ssl_core.training.encoder_files import load_encoder
from ssl_sweep.ssl_core.training.reporter import EpochRecord, LocalReporter, Reporter
from ssl_sweep.ssl_core.training.trainer import Interrupted, RuntimeOptions, Training, pretrain

NEIGHBOURS, TEMPERATURE = 200, 0.1
PUBLISHED = {199: 84.8}
"""Epoch, from 0, and top-1 in percent."""
UNFINISHED = 3
CURVE = "knn.jsonl"


class Clocked(LocalReporter):
    """Stops at a time of the monotonic clock, and says every tenth epoch."""

    def __init__(self, folder: Path, until: float) -> None:
        super().__init__(folder)
        self._until = until

    def log(self, record: EpochRecord) -> None:
        super().log(record)
        if record.epoch % 10 == 0:
            rank = f", RankMe {record.rankme:.1f}" if record.rankme else ""
            speed = f"{record.images_per_s:,.0f} images/s"
            print(f"epoch {record.epoch}: loss {record.loss:.4f}, {speed}{rank}", flush=True)

    def stop_requested(self) -> bool:
        return time.monotonic() >= self._until or super().stop_requested()


class Judged(Training):
    """Measures top-1 of the test images after every few epochs, and appends it to ``file``."""

    every, file = 0, Path()
    splits: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

    def _end_epoch(self, reporter: Reporter, epoch: int, features: Tensor, rate: float) -> None:
        super()._end_epoch(reporter, epoch, features, rate)
        last = self.progress.step == self.total_steps
        if not last and (not self.every or (epoch + 1) % self.every):
            return
        self.model.encoder.eval()
        accuracy = judge(self.model.encoder, *self.splits, str(self.device))
        self.model.encoder.train()
        with self.file.open("a") as file:
            file.write(json.dumps({"epoch": epoch, "knn_top1": accuracy}) + "\n")
        print(f"epoch {epoch}: nearest neighbours {100 * accuracy:.2f} %", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of CIFAR-10")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint and the result")
    parser.add_argument("--minutes", type=float, default=9.0, help="of this part, reading included")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--images", type=int, default=0, help="the first so many of each split; 0: all")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--encoder", default="resnet18", choices=ENCODERS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", default="auto", choices=("auto", "torch", "dali"))
    parser.add_argument("--knn-every", type=int, default=10, help="epochs; 0: only at the end")
    parser.add_argument("--cuda-graph", action="store_true", help="replay the passes as a CUDA graph")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    until = time.monotonic() + 60 * args.minutes
    on_gpu = torch.device(args.device).type == "cuda"
    name = torch.cuda.get_device_name() if on_gpu else "no GPU"
    print(f"{header('torch', 'torchvision')}, {name}", flush=True)

    images, labels = read(args.data, "train", args.images)
    test, truth = read(args.data, "test", args.images)
    args.out.mkdir(parents=True, exist_ok=True)
    Judged.every, Judged.file = args.knn_every, args.out / CURVE
    Judged.splits = (images, labels, test, truth)
    config = default_config(args.encoder, SIZE, batch=args.batch, epochs=args.epochs, seed=args.seed)
    data = TrainingImages(images, hash64(0, np.arange(len(images))))
    started = time.perf_counter()
    try:
        summary = pretrain(
            config,
            data,
            args.out,
            Clocked(args.out, until),
            RuntimeOptions(
                backend=args.backend,
                device=args.device,
                compile=args.compile,
                cuda_graph=args.cuda_graph,
            ),
            training=Judged,
        )
    except Interrupted as part:
        seconds = time.perf_counter() - started
        print(f"{part} in {seconds:.0f} s of this part, {memory(on_gpu)}; the same command goes on")
        return UNFINISHED
    memory_used = memory(on_gpu)
    encoder = load_encoder(args.out).to(args.device, memory_format=torch.channels_last)
    accuracy = judge(encoder, images, labels, test, truth, args.device)
    result = {
        "knn_top1": accuracy,
        "loss": summary.loss,
        "rankme": summary.epochs[-1].rankme,
        "images_per_s": summary.images_per_s,
        "training_minutes": summary.seconds / 60,
        "steps": summary.steps,
        "precision": summary.precision,
        "views": summary.backend,
        "memory": memory_used,
        "machine": name,
    }
    (args.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    return 0


def curve(out: Path) -> dict[int, float]:
    """Top-1 by epoch, as far as ``out`` has been trained."""
    file = out / CURVE
    lines = file.read_text().splitlines() if file.exists() else []
    return {row["epoch"]: row["knn_top1"] for row in map(json.loads, lines)}


def judge(
    encoder: Encoder,
    images: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    truth: np.ndarray,
    device: str,
) -> float:
    """Top-1 of the test images among all training images."""
    bank, queries = (features(encoder, split, device) for split in (images, test))
    return nearest(bank, torch.from_numpy(labels), queries, torch.from_numpy(truth))


@torch.inference_mode()
def features(encoder: Encoder, images: np.ndarray, device: str) -> Tensor:
    """L2-normalised features (n, d) of clean images."""
    parts = []
    for start in range(0, len(images), 512):
        batch = pixels_to_input(images[start : start + 512]).to(device, memory_format=torch.channels_last)
        parts.append(F.normalize(encoder(batch).float(), dim=1))
    return torch.cat(parts)


def nearest(bank: Tensor, labels: Tensor, queries: Tensor, truth: Tensor) -> float:
    """Top-1 of neighbours that vote with exp(cosine / temperature) (Wu et al. 2018)."""
    labels, hits = labels.to(bank.device), 0
    for part, wanted in zip(queries.split(1024), truth.split(1024), strict=True):
        near, which = (part @ bank.T).topk(min(NEIGHBOURS, len(bank)), dim=1)
        votes = bank.new_zeros(len(part), int(labels.max()) + 1)
        votes.scatter_add_(1, labels[which], (near / TEMPERATURE).exp())
        hits += int((votes.argmax(dim=1).cpu() == wanted).sum())
    return hits / len(truth)


def memory(on_gpu: bool) -> str:
    """The most that was held at once: on the device, in the process."""
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    device = f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB on the device, " if on_gpu else ""
    return f"{device}{host:.2f} GiB in the process"


if __name__ == "__main__":
    sys.exit(main())
