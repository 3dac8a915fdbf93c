"""Random reads from a prepared dataset, and what opening a large one costs.

Writes sets in the layout of `prepare` (random pixels; those of the large set are holes of a sparse file) and
reads them as training does: batches of a random permutation from a memory map, in one thread. The pixels are
in the page cache, so that the index and the copying are measured and not the disk. Linux only.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from machine import header

from ssl_sweep.data_ops.dataset.prepared import MANIFEST, DatasetManifest, PreparedDataset
from ssl_sweep.data_ops.views.loader import epoch_permutation

BATCH = 256


def write_set(folder: Path, n: int, size: int, sparse: bool) -> None:
    """A finished dataset of n train images and one test image."""
    rng = np.random.default_rng(0)
    for split, count in (("train", n), ("test", 1)):
        path = folder / f"{split}.npy"
        images = np.lib.format.open_memmap(path, "w+", np.uint8, (count, size, size, 3))
        for start in range(0, 0 if sparse else count, 4096):
            part = images[start : start + 4096]
            part[:] = rng.integers(0, 256, part.shape, dtype=np.uint8)
        images.flush()
        keys = rng.integers(0, 2**63, count, dtype=np.uint64)
        np.save(folder / f"{split}_keys.npy", keys)
        np.save(folder / f"{split}_ids.npy", np.array([f"{k:032x}" for k in keys.tolist()], dtype="S32"))
        np.save(folder / f"{split}_labels.npy", (keys % np.uint64(1000)).astype(np.int64)[:, None])
    manifest = DatasetManifest(
        fingerprint="0" * 64,
        size=size,
        n_train=n,
        n_test=1,
        levels=("label",),
        class_names=(tuple(f"c{i:03d}" for i in range(1000)),),
        parents=(),
    )
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")


def made(folder: Path, n: int, size: int, sparse: bool = False) -> Path:
    """Written by a process of its own: what it used is not in our memory."""
    folder.mkdir()
    writer = multiprocessing.get_context("spawn").Process(target=write_set, args=(folder, n, size, sparse))
    writer.start()
    writer.join()
    if writer.exitcode:
        raise SystemExit(f"writing {folder} failed")
    return folder


def records_per_second(folder: Path, reads: int) -> tuple[float, float]:
    """Per second of wall and of CPU time."""
    data = PreparedDataset(folder)
    images, labels = data.images("train"), data.labels("train")
    order = np.concatenate([epoch_permutation(len(images), 0, e) for e in range(-(-reads // len(images)))])
    wall, cpu, total = time.perf_counter(), time.process_time(), 0
    for start in range(0, reads, BATCH):
        index = order[start : min(start + BATCH, reads)]
        total += int(images[index][:, 0, 0, 0].sum()) + int(labels[index].sum())
    return reads / (time.perf_counter() - wall), reads / (time.process_time() - cpu)


def resident() -> int:
    """Bytes of this process's memory that are not pages of files."""
    pages = Path("/proc/self/statm").read_text().split()
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reads", type=int, default=100_000, help="records read (100000)")
    parser.add_argument("--images", type=int, default=1_000_000, help="images of the large set (1000000)")
    options = parser.parse_args()
    print(header("numpy"))
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for size, n in ((32, 100_000), (64, 50_000), (224, 5_000)):
            folder = made(root / f"{size}", n, size)
            records_per_second(folder, min(options.reads, n))  # into the page cache
            wall, cpu = records_per_second(folder, options.reads)
            print(f"{size:4} px: {wall:10,.0f} records/s, {cpu:10,.0f} per CPU-second of one core")

        folder = made(root / "large", options.images, 224, sparse=True)
        epoch_permutation(1000, 0, 0)  # what the code itself takes is not the index's
        millions, before, started = options.images / 1e6, resident(), time.perf_counter()
        data = PreparedDataset(folder)
        images, keys, labels = data.images("train"), data.keys("train"), data.labels("train")
        seconds, index = time.perf_counter() - started, resident() - before
        order = epoch_permutation(len(keys), 0, 0)
        first = images[order[:BATCH]]
        first_batch, with_order = time.perf_counter() - started, resident() - before
        ids = data.id_bytes("train")
        with_ids, all_seconds = resident() - before, time.perf_counter() - started
        del labels, first, ids
        print(f"{options.images:,} images of 224 px, opened with keys and labels: {seconds:.2f} s,")
        print(
            f"  first batch of a shuffled epoch after {first_batch:.2f} s, all ids after {all_seconds:.2f} s"
        )
        per_million = [f"{n / 1e6 / millions:.0f} MB" for n in (index, with_order, with_ids)]
        print(f"  memory per million images: {per_million[0]} with keys and labels, {per_million[1]} with an")
        print(f"  epoch's order and a batch, {per_million[2]} with the ids as well")


if __name__ == "__main__":
    main()
