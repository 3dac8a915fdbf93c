"""Speed of the view back ends on CPU against the same policy in the 2 workers of a PyTorch DataLoader.

All contenders run in one process, in turn, for some rounds; the table gives medians. An image means two views
of it, normalised float32 tensors. From uint8 pixels in memory; with --jpeg the others decode JPEG files at
every access while ours reads the prepared copy on disk, which is what each does in a training. With --lightly
its transforms and dataset run too (the extra `bench`). CPU time counts every thread and worker process: on a
busy machine it is the number to trust.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from machine import cpu_seconds, header
from view_contenders import Pictures, TorchvisionViews, epoch_of_workers, lightly_views, write_jpegs

from ssl_sweep.data_ops.sources.decode import decode_rgb, resize
from ssl_sweep.data_ops.views.backend import ViewBackend, choose_views
from ssl_sweep.data_ops.views.loader import ViewLoader
from ssl_sweep.data_ops.views.policy import simclr_policy


def epoch_of_ours(views: ViewBackend, images: npt.NDArray[np.uint8], batch: int) -> Callable[[], None]:
    loader = ViewLoader(images, np.arange(len(images), dtype=np.uint64), batch=batch, seed=0, views=views)

    def epoch() -> None:
        for _ in loader.batches(0, loader.steps_per_epoch):
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


def pixels_in_memory(n: int, size: int) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (n, 3, 8, 8)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic")
    return smooth.clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def prepared_copy(files: list[Path], size: int, path: Path) -> npt.NDArray[np.uint8]:
    """A memory map of the files' images as `prepare` writes them."""
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (len(files), size, size, 3))
    for i, file in enumerate(files):
        images[i] = resize(decode_rgb(file.read_bytes(), file.name), size)
    images.flush()
    stored: npt.NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return stored


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--size", type=int, default=32, help="pixels of a view (32)")
    parser.add_argument("--stored", type=int, help="pixels of a stored image (as a view)")
    parser.add_argument("--images", type=int, default=2048, help="images of an epoch (2048)")
    parser.add_argument("--batch", type=int, default=256, help="images of a batch (256)")
    parser.add_argument("--rounds", type=int, default=3, help="epochs measured of each contender (3)")
    parser.add_argument(
        "--workers", type=int, default=2, help="processes of the DataLoader, threads of ours (2)"
    )
    parser.add_argument(
        "--jpeg", action="store_true", help="the others decode JPEG, ours has a prepared copy"
    )
    parser.add_argument("--lightly", action="store_true", help="lightly's transforms and dataset as well")
    parser.add_argument("--no-dali", action="store_true", help="leave DALI's CPU path out")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    stored = options.stored or options.size
    torch.set_num_threads(1)
    packages = ["torch", "torchvision", "pillow", *(["lightly"] if options.lightly else [])]
    print(header(*packages))
    with tempfile.TemporaryDirectory() as folder:
        if options.jpeg:
            files = write_jpegs(Path(folder), options.images)
            kilobytes = statistics.mean(file.stat().st_size for file in files) / 1e3
            images = prepared_copy(files, stored, Path(folder) / "images.npy")
            pictures = Pictures(files)
            print(f"theirs: JPEG files of 500 x 375 pixels, {kilobytes:.0f} KB; ours: {stored} px prepared")
        else:
            images = pixels_in_memory(options.images, stored)
            pictures = Pictures(images)
        compare(options, images, pictures)


def compare(options: argparse.Namespace, images: npt.NDArray[np.uint8], pictures: Pictures) -> None:
    policy, batch, workers = simclr_policy(options.size), options.batch, options.workers
    epochs = {"torchvision PIL": epoch_of_workers(TorchvisionViews(pictures, policy), batch, workers)}
    if options.lightly:
        epochs["lightly"] = epoch_of_workers(lightly_views(pictures, policy), batch, workers)
    theirs = list(epochs)
    for mode in ("exact", "affine"):
        chosen = replace(policy, mode=mode)
        for threads in sorted({1, workers}):
            views = choose_views(chosen, "torch", batch, cuda=False, threads=threads)
            epochs[f"{views.name}, {threads} thr."] = epoch_of_ours(views, images, batch)
        if not options.no_dali:
            views = choose_views(chosen, "dali", batch, cuda=False, threads=workers)
            epochs[f"{views.name}, {workers} thr."] = epoch_of_ours(views, images, batch)

    medians = measure(epochs, options.rounds)
    counted = len(images) // batch * batch
    print(f"{options.size} px, batch {batch}, two views per image, median of {options.rounds} epochs")
    ratios = "".join(f"{'× ' + name:>18}{'(CPU)':>8}" for name in theirs)
    print(f"{'':26}{'images/s':>10}{'CPU-ms/image':>14}{ratios}")
    for name, (wall, cpu) in medians.items():
        line = f"{name:26}{counted / wall:10.0f}{cpu / counted * 1e3:14.3f}"
        for other in theirs:
            line += f"{medians[other][0] / wall:18.1f}{medians[other][1] / cpu:8.1f}"
        print(line)


if __name__ == "__main__":
    main()
