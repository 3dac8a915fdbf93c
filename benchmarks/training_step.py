"""The whole SimCLR training step with the real pipeline against the same step on resident tensors.

Both sides run the trainer's own step on one model in one process, in alternating blocks. The real side
takes its views from ViewLoader, prefetched in the background; the resident side uses one batch of views
again and again. Medians over all steps; the first steps of a block, which find views made during the other
block, do not count. CPU-ms per image is the pipeline's own CPU time for two views, measured apart: a slow
encoder flatters the ratio, not this. On one core (--cores 1) nothing can be hidden and the ratio is the
share of CPU time left to the encoder.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterable
from contextlib import closing

import numpy as np
import torch

from ssl_sweep.data_ops.views.backend import ViewBackend, choose_views
from ssl_sweep.data_ops.views.loader import ViewBatch, ViewLoader
from ssl_sweep.data_ops.views.policy import sample_params
from ssl_sweep.ssl_core.config.pretrain import default_config
from ssl_sweep.ssl_core.config.registry import ENCODERS
from ssl_sweep.ssl_core.encoders.build import torch_seed
from ssl_sweep.ssl_core.training.data import TrainingImages
from ssl_sweep.ssl_core.training.trainer import Training

SKIPPED = 4  # steps of a block: more than are prefetched
IMAGES = 4096


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", default="resnet-demo", choices=ENCODERS)
    parser.add_argument("--size", type=int, default=32, help="pixels")
    parser.add_argument("--batch", type=int, default=256, help="images")
    parser.add_argument("--rounds", type=int, default=6, help="blocks of each side")
    parser.add_argument("--steps", type=int, default=12, help="counted steps of a block")
    parser.add_argument(
        "--cores", type=int, default=2, help="CPU cores to use; torch computes with one thread"
    )
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    torch.set_num_threads(1)

    config = default_config(args.encoder, args.size, batch=args.batch, precision=args.precision)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (max(IMAGES, args.batch), args.size, args.size, 3), dtype=np.uint8)
    keys = rng.integers(0, 2**63, len(images), dtype=np.uint64)
    device = torch.device(args.device)
    with closing(choose_views(config.views, "auto", args.batch, cuda=device.type == "cuda")) as views:
        loader = ViewLoader(images, keys, batch=args.batch, seed=0, views=views)
        with torch_seed(0):
            training = Training(config, loader, device, TrainingImages(images, keys))
        training.model.train()
        real: list[float] = []
        resident: list[float] = []
        per_block = SKIPPED + args.steps
        for round_number in range(args.rounds):
            first = round_number * per_block
            real += timed(training, loader.batches(first, first + per_block))
            views_once = next(iter(loader.batches(first, first + 1)))
            on_device = tuple(view.to(device) for view in views_once.views)
            kept = ViewBatch(first, 0, on_device, views_once.index)
            resident += timed(training, [kept] * per_block)
        pipeline = cpu_seconds_of_pipeline(images[: args.batch], keys[: args.batch], views)

    step, limit = statistics.median(real), statistics.median(resident)
    print(f"{args.encoder}, {args.size} px, batch {args.batch}, {args.precision}")
    print(f"{views.name}, {args.cores} core(s), device {device}")
    print(f"real pipeline     {step * 1e3:8.1f} ms a step  {args.batch / step:8.0f} images/s")
    print(f"resident tensors  {limit * 1e3:8.1f} ms a step  {args.batch / limit:8.0f} images/s")
    print(f"ratio             {limit / step:8.3f}")
    print(f"pipeline          {pipeline / args.batch * 1e3:8.3f} CPU-ms per image (two views)")


def timed(training: Training, batches: Iterable[ViewBatch]) -> list[float]:
    """Seconds of each step, waiting for its batch included, without the first ones."""
    seconds = []
    before = time.perf_counter()
    for batch in batches:
        loss, _, _ = training.step(training.model, batch)
        float(loss)  # on a GPU this waits for the step
        now = time.perf_counter()
        seconds.append(now - before)
        before = now
    return seconds[SKIPPED:]


def cpu_seconds_of_pipeline(
    images: np.ndarray, keys: np.ndarray, views: ViewBackend, repeats: int = 8
) -> float:
    """Median CPU seconds, over all threads, of drawing and rendering two views of each image."""
    seconds = []
    for repeat in range(repeats):
        before = time.process_time()
        for view in (0, 1):
            policy = views.policy
            params = sample_params(policy, 0, repeat, keys, view, shape=images.shape[1:3])
            views.render(images, params)
        seconds.append(time.process_time() - before)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
