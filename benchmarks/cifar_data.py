"""CIFAR-10 as its Parquet files, or packed for a machine that takes only small files.

    python benchmarks/cifar_data.py ../shared/data/cifar10 packed --mib 55

writes packed/train-00.npz, train-01.npz, … and test-00.npz: the encoded images as they are, in files below
the given size. The benchmarks read either folder, and of a packed one the files that are there, without
pyarrow.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 32
Split = tuple[np.ndarray, np.ndarray]


def read(folder: Path, split: str, most: int = 0) -> Split:
    """Images (N, 32, 32, 3) uint8 and labels (N,) int64 of "train" or "test", in their order.

    Args:
        folder: Of ``train.parquet`` and ``test.parquet``, or of packed files.
        split: Which part.
        most: Only the first so many; 0: all.
    """
    packed = sorted(folder.glob(f"{split}-*.npz"))
    parts = [_unpack(file) for file in packed] if packed else [_parquet(folder / f"{split}.parquet")]
    contents = [content for part, _ in parts for content in part]
    labels = np.concatenate([labels for _, labels in parts])
    most = most or len(labels)
    pixels = np.empty((len(labels[:most]), SIZE, SIZE, 3), dtype=np.uint8)
    for row, content in enumerate(contents[:most]):
        pixels[row] = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    return pixels, labels[:most]


def pack(folder: Path, out: Path, mib: float) -> list[Path]:
    """Write the splits of ``folder`` in files of at most ``mib`` MiB."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for split in ("train", "test"):
        contents, labels = _parquet(folder / f"{split}.parquet")
        sizes = np.array([len(content) + 16 for content in contents])
        number = (np.cumsum(sizes) - 1) // int(mib * 2**20 - 65_536)
        for part in range(int(number[-1]) + 1):
            rows = np.flatnonzero(number == part)
            chosen = [contents[row] for row in rows]
            lengths = np.array([len(content) for content in chosen])
            file = out / f"{split}-{part:02d}.npz"
            content = np.frombuffer(b"".join(chosen), dtype=np.uint8)
            np.savez(file, content=content, lengths=lengths, labels=labels[rows])
            written.append(file)
    return written


def _unpack(file: Path) -> tuple[list[bytes], np.ndarray]:
    with np.load(file) as stored:
        content, ends = stored["content"].tobytes(), np.cumsum(stored["lengths"])
        starts = ends - stored["lengths"]
        images = [content[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        return images, stored["labels"].astype(np.int64)


def _parquet(file: Path) -> tuple[list[bytes], np.ndarray]:
    import pyarrow.parquet as pq  # packed files are read without it

    data = pq.read_table(file, columns=["image", "label"])
    images = data.column("image").to_pylist()
    contents = [image["bytes"] if isinstance(image, dict) else image for image in images]
    return contents, data.column("label").to_numpy().astype(np.int64)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of train.parquet and test.parquet")
    parser.add_argument("out", type=Path, help="folder of the packed files")
    parser.add_argument("--mib", type=float, default=55.0, help="largest size of a file in MiB")
    arguments = parser.parse_args()
    for path in pack(arguments.data, arguments.out, arguments.mib):
        print(f"{path}  {path.stat().st_size / 2**20:.1f} MiB")
