"""A user's own images in three forms: the same identities, so that a second form runs nothing but prepare."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bench import Bench
from PIL import Image

from ssl_sweep.data_ops.synthetic import domains as synthetic

pytestmark = pytest.mark.exhaustive

CLASSES = ("ant", "bee", "cat")
GRID = """
name: forms
datasets:
  mine: {mine}
  objects: {source: synthetic, domain: objects, train: 64, test: 16}
pretrain:
  - {domain: [{mine: 32, objects: 16}], epochs: 1, batch: 16}
  - {domain: mine, images: 48, epochs: 1, batch: 16, corruption: gaussian-noise}
  - {domain: mine, images: 32, epochs: 1, batch: 16, imbalance: 4}
evaluate:
  - {domain: mine, labels: [12, all], corruption: [none, downsample-2x]}
  - {domain: mine, labels: 12, imbalance: 4}
"""


def images(split: str) -> list[tuple[str, int, np.ndarray]]:
    """(name, class, pixels): 20 training images of each class, 8 test images."""
    each = 20 if split == "train" else 8
    rendered = synthetic.render("scenes", np.arange(3 * each) + (1000 if split == "test" else 0), seed=5)
    return [(f"{i:03d}", i % 3, pixels) for i, pixels in enumerate(rendered)]


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def as_folder(root: Path, split: str) -> None:
    for name, label, pixels in images(split):
        path = root / split / CLASSES[label] / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(pixels))


def as_parquet(root: Path, split: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {"image": {"bytes": png(p), "path": n}, "label": CLASSES[c]} for n, c, p in reversed(images(split))
    ]
    pq.write_table(pa.Table.from_pylist(rows), root / f"{split}.parquet")


def as_shards(root: Path, split: str) -> None:
    everything = images(split)
    for shard in range(3):
        with tarfile.open(root / f"{split}-{shard:03d}.tar", "w") as tar:
            for name, label, pixels in everything[shard::3]:
                for suffix, data in (
                    ("png", png(pixels)),
                    ("json", json.dumps({"label": CLASSES[label]}).encode()),
                ):
                    member = tarfile.TarInfo(f"{name}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


FORMS: dict[str, tuple[Callable[[Path, str], None], str]] = {
    "folder": (as_folder, "{source: folder, train: folder/train, test: folder/test}"),
    "parquet": (as_parquet, "{source: parquet, train: parquet/train.parquet, test: parquet/test.parquet}"),
    "webdataset": (
        as_shards,
        "{source: webdataset, train: 'webdataset/train-{000..002}.tar', test: 'webdataset/test-*.tar',"
        " levels: [label]}",
    ),
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("forms")
    for name, (write, _) in FORMS.items():
        (folder / name).mkdir()
        write(folder / name, "train")
        write(folder / name, "test")
    return Bench(folder)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_three_forms_of_the_same_images_are_one_sweep(bench: Bench) -> None:
    tables = []
    for number, (name, (_, entry)) in enumerate(FORMS.items()):
        grid = bench.write(GRID.replace("mine: {mine}\n", f"mine: {entry}\n"), f"{name}.yaml").name
        if number:
            result = bench.run(grid=grid)
            assert "executed 1 prepare in" in result.stderr
        else:
            bench.run(grid=grid)
        tables.append(bench.results(grid=grid))
    assert len(set(tables)) == 1
    table = rows(tables[0])
    assert {row["status"] for row in table} == {"complete"}
    assert {(r["pretrain_domain"], r["images"], r["imbalance"]) for r in table} == {
        ("mine", "48", "1.0"),
        ("mine", "32", "4.0"),
        ("mine+objects", "48", "1.0"),
    }
    assert {(r["pretrain_domain"], r["corruption"]) for r in table} == {
        ("mine", "none"),
        ("mine", "gaussian-noise-0.1"),
        ("mine+objects", "none"),
    }
    assert {(r["eval_corruption"], r["label_imbalance"], r["labels"]) for r in table} == {
        (corruption, "1.0", labels) for corruption in ("none", "downsample-2x") for labels in ("12", "all")
    } | {("none", "4.0", "12")}
    by_damage = {
        r["eval_corruption"]: r["top1"]
        for r in table
        if r["labels"] == "all" and r["corruption"] == "none" and r["images"] == "32"
    }
    assert len(by_damage) == 2


def test_every_training_keeps_a_picture_of_what_it_saw(bench: Bench) -> None:
    """After the sweep above: images, corruption and views, in the store and so in MLflow."""
    sheets = sorted((bench.folder / bench.store / "pretrain").glob("*/images.png"))
    assert len(sheets) == 3
    heights = {Image.open(io.BytesIO(sheet.read_bytes())).height for sheet in sheets}
    assert len(heights) == 2  # one row more where there is a corruption
    logged = list((bench.folder / bench.store / "mlflow" / "artifacts").rglob("images.png"))
    assert sorted(path.read_bytes() for path in logged) == sorted(path.read_bytes() for path in sheets)
