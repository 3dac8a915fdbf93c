"""The GPU suite runs on a CPU, in small: all that is left for a GPU is what only a GPU can do."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
ONLY_GPU = {
    "switches": {
        "compiled",
        "compiled, CUDA graph",
        "LARS, compiled",
        "cuDNN tries its algorithms",
    },
    "two": {"nccl, 2 processes, no GPU"},
}


@pytest.fixture(scope="module")
def modules():
    sys.path.insert(0, str(BENCHMARKS))
    import cifar_data
    import gpu_record

    yield cifar_data, gpu_record
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def parquet(tmp_path_factory) -> Path:
    """CIFAR-10's files in small: noise."""
    folder = tmp_path_factory.mktemp("cifar")
    rng = np.random.default_rng(0)
    for split, n in (("train", 96), ("test", 64)):
        contents = []
        for pixels in rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8):
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            contents.append(buffer.getvalue())
        table = pa.table({"image": [{"bytes": c} for c in contents], "label": np.arange(n) % 10})
        pq.write_table(table, folder / f"{split}.parquet")
    return folder


def test_packed_images_are_those_of_the_parquet_files(modules, parquet, tmp_path):
    cifar_data, _ = modules
    files = cifar_data.pack(parquet, tmp_path, 0.2)
    names = ["train-00.npz", "train-01.npz", "train-02.npz", "test-00.npz", "test-01.npz"]
    assert [file.name for file in files] == names
    assert all(file.stat().st_size <= 0.2 * 2**20 for file in files)
    for split, n in (("train", 96), ("test", 64)):
        (images, labels), (packed, same) = (cifar_data.read(f, split) for f in (parquet, tmp_path))
        assert images.shape == (n, 32, 32, 3) and labels.dtype == np.int64
        assert np.array_equal(images, packed) and np.array_equal(labels, same)
    assert len(cifar_data.read(tmp_path, "train", 10)[0]) == 10


def test_rows_are_measured_once_and_failed_ones_again(modules, tmp_path):
    _, gpu_record = modules
    calls: list[str] = []

    def fails():
        calls.append("fails")
        raise RuntimeError("out of memory\nmore")

    def works():
        calls.append("works")
        return {"images/s": 3.0}

    def record(cuda=False, tiny=True, until=float("inf")):
        return gpu_record.Record(tmp_path / "part.json", {"tiny": tiny}, cuda=cuda, tiny=tiny, until=until)

    first = record()
    assert first.measure("works", works)["images/s"] == 3.0
    assert first.measure("fails", fails)["error"].startswith("RuntimeError: ")
    assert not first.complete
    assert first.measure("graph", works, gpu=True) == {"needs": "a GPU"}
    assert calls == ["works", "fails"]
    again = record()
    again.measure("works", works)
    again.measure("fails", works)
    assert calls == ["works", "fails", "works"] and again.complete
    late = record(cuda=True, until=time.monotonic() - 1)
    assert "more time" in late.measure("graph", works, gpu=True)["needs"] and not late.complete
    assert not record(tiny=False).rows


@pytest.mark.slow
def test_the_suite_runs_on_a_cpu_and_goes_on_where_it_was(modules, parquet, tmp_path):
    cifar_data, _ = modules
    packed, out = tmp_path / "packed", tmp_path / "out"
    cifar_data.pack(parquet, packed, 1)
    command = [sys.executable, str(BENCHMARKS / "gpu_suite.py"), "--tiny", "--out", str(out)]
    command += ["--device", "cpu", "--cifar", str(packed)]

    def run(*more: str) -> str:
        ended = subprocess.run([*command, *more], capture_output=True, text=True, timeout=400)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    printed = run()
    parts = json.loads((out / "suite.json").read_text())
    assert list(parts) == [
        "parity",
        "steps",
        "views",
        "switches",
        "precision",
        "resume",
        "two",
        "probe",
        "cifar",
    ]
    for part, found in parts.items():
        assert not found["note"] and f"### {part}: no GPU" in printed
        needs = {name.split(": ")[-1] for name, row in found["rows"].items() if "needs" in row}
        assert needs == ONLY_GPU.get(part, set())
        assert not any("error" in row for row in found["rows"].values())
    assert all(row["max levels"] < 0.05 for row in parts["parity"]["rows"].values())
    assert all(row["resumed bit for bit"] for row in parts["resume"]["rows"].values())
    assert {"epoch 0", "epoch 1", "result"} <= set(parts["cifar"]["rows"])
    assert "Needs a GPU: `python benchmarks/gpu_suite.py --out DIR --only switches`" in printed
    kept = {part: (out / f"{part}.json").read_text() for part in ("parity", "steps")}
    run("--only", "parity,steps")
    assert kept == {part: (out / f"{part}.json").read_text() for part in kept}
