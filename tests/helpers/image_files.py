"""The same images in several formats on disk."""

from __future__ import annotations

import csv
import io
import json
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np

from ssl_sweep.data_ops.sources.decode import decode_rgb

Row = tuple[bytes, str, str]
LEVELS = ("label", "group")


def write_csv(path: Path, header: list[str], lines: list[list[str]], delimiter: str = ",") -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *lines])
    return str(path)


def csv_of(rows: list[Row], folder: Path, delimiter: str = ",") -> str:
    lines = []
    for i, (data, fine, coarse) in enumerate(rows):
        (folder / f"{i}.png").write_bytes(data)
        lines.append([f"{i}.png", fine, coarse])
    return write_csv(folder / "table.csv", ["path", *LEVELS], lines, delimiter)


def npz_of(rows: list[Row], path: Path) -> str:
    images = np.stack([decode_rgb(data, "x") for data, _, _ in rows])
    np.savez_compressed(path, images=images, labels=np.array([row[1:] for row in rows]))
    return str(path)


def write_tar(path: Path, files: list[tuple[str, bytes]]) -> str:
    with tarfile.open(path, "w") as tar:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return str(path)


def sample(key: str, row: Row) -> list[tuple[str, bytes]]:
    labels = json.dumps({"label": row[1], "group": row[2], "more": [1]}).encode()
    return [(f"{key}.png", row[0]), (f"{key}.json", labels)]


def shards_of(rows: list[Row], folder: Path) -> str:
    for shard in range(2):
        part = rows[20 * shard : 20 * shard + 20]
        files = [file for i, row in enumerate(part) for file in sample(f"deep/{i:04}", row)]
        write_tar(folder / f"set-{shard:02}.tar", files)
    return str(folder / "set-{00..01}.tar")


def bomb() -> bytes:
    """A PNG header that claims 20000 x 20000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, data)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
