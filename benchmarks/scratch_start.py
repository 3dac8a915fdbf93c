"""Training from scratch from two starts of one random encoder: residual gains at 1, as the floor has them,
and at 0, as every pretraining starts. The fine-tuning's own preset, on CIFAR-10 or any folder that
cifar_gpu.py takes; one line for each seed: top-1 % from gains at 1 and at 0."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from cifar_gpu import SIZE, read
from machine import header

from ssl_sweep.data_ops.hashing import hash64
from ssl_sweep.ssl_core.config.finetune import default_finetune
from ssl_sweep.ssl_core.config.pretrain import default_config
from ssl_sweep.ssl_core.config.registry import ENCODERS
from ssl_sweep.ssl_core.encoders.base import Encoder
from ssl_sweep.ssl_core.encoders.random import random_encoder
from ssl_sweep.ssl_core.encoders.resnets import zero_residual_gains
from ssl_sweep.ssl_core.evaluation.finetune import LabelBudget, finetune


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of train.parquet and test.parquet")
    parser.add_argument("--encoder", default="resnet-demo", choices=[e for e in ENCODERS if "vit" not in e])
    parser.add_argument("--labels", type=int, nargs="+", default=[100, 200, 2000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=0, help="0: the preset's")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    print(header("torch"))
    torch.set_num_threads(1)
    images, labels = read(args.data / "train.parquet", 4000)
    test, truth = read(args.data / "test.parquet", 2000)
    schedule = {"steps": args.steps} if args.steps else {}
    recipe = default_finetune(args.encoder, SIZE, **schedule)

    def top1(encoder: Encoder, n: int, seed: int) -> float:
        rows = np.sort(np.random.default_rng(seed).permutation(len(images))[:n])
        budget = LabelBudget(images=images, keys=hash64(0, rows), labels=labels[rows], rows=rows)
        classes = int(labels.max()) + 1
        fit = finetune(encoder, budget, test, n_classes=classes, seed=seed, config=recipe, device=args.device)
        return 100 * float((fit.top5[:, 0] == truth).mean())

    for n in args.labels:
        for seed in range(args.seeds):
            config = default_config(args.encoder, SIZE, method="random", seed=seed)
            encoder = random_encoder(config, images)
            one = top1(encoder, n, seed)
            zero_residual_gains(encoder)
            print(f"{n} labels, seed {seed}: {one:.1f} {top1(encoder, n, seed):.1f}", flush=True)


if __name__ == "__main__":
    main()
