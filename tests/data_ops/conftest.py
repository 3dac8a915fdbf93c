"""Small image sets on disk, the same images in several formats."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ssl_sweep.data_ops.synthetic import domains as synthetic

CLASSES = {"ant": "insect", "bee": "insect", "cat": "mammal", "dog": "mammal"}


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def example_images(n: int) -> list[tuple[bytes, str, str]]:
    """n distinct 20-px PNGs with a fine and a coarse label each."""
    images = synthetic.render("objects", np.arange(n), seed=1, size=20)
    names = list(CLASSES)
    return [(png(image), names[i % 4], CLASSES[names[i % 4]]) for i, image in enumerate(images)]


def write_parquet(path: Path, rows: list[tuple[bytes, str, str]]) -> str:
    table = {
        "image": pa.array([{"bytes": data, "path": f"{i}.png"} for i, (data, _, _) in enumerate(rows)]),
        "label": [fine for _, fine, _ in rows],
        "group": [coarse for _, _, coarse in rows],
    }
    pq.write_table(pa.table(table), path, row_group_size=16)
    return str(path)


def write_folder(root: Path, rows: list[tuple[bytes, str, str]]) -> str:
    for i, (data, fine, _) in enumerate(rows):
        file = root / fine / f"{i:04d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return str(root)


@pytest.fixture
def rows() -> list[tuple[bytes, str, str]]:
    return example_images(40)


@pytest.fixture
def parquet(tmp_path: Path) -> Callable[..., str]:
    """Write rows to a Parquet file of the test's folder."""
    return lambda rows, name="images.parquet": write_parquet(tmp_path / name, rows)


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., str]:
    """Write rows to class sub-folders of the test's folder; the coarse label is left out."""
    return lambda rows, name="images": write_folder(tmp_path / name, rows)
