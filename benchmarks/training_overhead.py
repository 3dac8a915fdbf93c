"""What a training costs beyond the training itself, on both of Train's paths, through `ssl-sweep run`.

    python benchmarks/training_overhead.py

Runs sweeps of 1 and of 4 trainings, one training at a time, in fresh stores. The difference of the two wall
times, less the seconds that the trainings themselves took (their manifests say), divided by 3, is the
overhead of one more training; the sweep of 1 shows the fixed cost of a run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

GRID = """
name: overhead
datasets:
  objects: {source: synthetic, domain: objects, train: 256, test: 64}
pretrain:
  - {domain: objects, images: 256, epochs: 2, batch: 64, seed: SEEDS}
evaluate:
  - {domain: objects, labels: 16}
"""


def sweep(trainings: int, mode: str) -> tuple[float, float]:
    """(wall seconds of the run, seconds of its trainings)"""
    script = Path(sys.executable).parent / "ssl-sweep"
    with tempfile.TemporaryDirectory() as folder:
        grid = Path(folder) / "grid.yaml"
        grid.write_text(GRID.replace("SEEDS", str(list(range(trainings)))))
        started = time.monotonic()
        settings = [f"compute.mode={mode}", f"compute.cpus_per_worker={os.cpu_count()}"]
        subprocess.run(
            [script, "run", str(grid), *settings, "--store", f"{folder}/store"],
            check=True,
            capture_output=True,
        )
        wall = time.monotonic() - started
        manifests = [json.loads(p.read_text()) for p in Path(folder).glob("store/pretrain/*/manifest.json")]
        assert len(manifests) == trainings
        assert {m["run"]["mode"] for m in manifests} == {mode}
        return wall, sum(m["run"]["seconds"] for m in manifests)


@click.command(help=__doc__)
@click.option("--repeats", default=1, show_default=True, help="Measurements of each path.")
def main(repeats: int) -> None:
    for mode in ("in-process", "workers"):
        for _ in range(repeats):
            (wall_1, train_1), (wall_4, train_4) = sweep(1, mode), sweep(4, mode)
            overhead = (wall_4 - wall_1 - (train_4 - train_1)) / 3
            click.echo(
                f"{mode:<11} run of 1: {wall_1:5.1f} s ({train_1:.1f} s training)   "
                f"run of 4: {wall_4:5.1f} s ({train_4:.1f} s training)   "
                f"overhead of one more training: {overhead:4.1f} s"
            )


if __name__ == "__main__":
    main()
