"""What a training costs beyond the training itself, on both of Train's paths, through `ssl-sweep run`.

    python benchmarks/training_overhead.py [--more 3] [--method sleep] [--mode in-process]

Runs sweeps of 1 and of 4 trainings, one training at a time, in fresh stores. The difference of the two wall
times, less the seconds that the trainings themselves took (their manifests say), divided by 3, is the
overhead of one more training; the sweep of 1 shows the fixed cost of a run. With method sleep, of
tests/helpers/plugins, next to nothing is learnt.
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
  - {method: METHOD, domain: objects, images: 256, epochs: 2, batch: 64, seed: SEEDS}
evaluate:
  - {domain: objects, labels: 16}
"""


PLUGINS = Path(__file__).parents[1] / "tests" / "helpers" / "plugins"


def sweep(trainings: int, mode: str, method: str) -> tuple[float, float]:
    """(wall seconds of the run, seconds of its trainings)"""
    path = os.pathsep.join(filter(None, [str(PLUGINS), os.environ.get("PYTHONPATH", "")]))
    script = Path(sys.executable).parent / "ssl-sweep"
    with tempfile.TemporaryDirectory() as folder:
        grid = Path(folder) / "grid.yaml"
        grid.write_text(GRID.replace("SEEDS", str(list(range(trainings)))).replace("METHOD", method))
        started = time.monotonic()
        settings = [f"compute.mode={mode}", f"compute.cpus_per_worker={os.cpu_count()}"]
        subprocess.run(
            [script, "run", str(grid), *settings, "--store", f"{folder}/store"],
            check=True,
            capture_output=True,
            env=os.environ | {"PYTHONPATH": path},
        )
        wall = time.monotonic() - started
        manifests = [json.loads(p.read_text()) for p in Path(folder).glob("store/pretrain/*/manifest.json")]
        assert len(manifests) == trainings
        assert {m["run"]["mode"] for m in manifests} == {mode}
        return wall, sum(m["run"]["seconds"] for m in manifests)


@click.command(help=__doc__)
@click.option("--repeats", default=1, show_default=True, help="Measurements of each path.")
@click.option("--more", default=3, show_default=True, help="Trainings beside the first.")
@click.option("--method", default="simclr", show_default=True)
@click.option("--mode", "modes", multiple=True, default=("in-process", "workers"), show_default=True)
def main(repeats: int, more: int, method: str, modes: tuple[str, ...]) -> None:
    for mode in modes:
        for _ in range(repeats):
            (wall, train), (wall_more, train_more) = (sweep(n, mode, method) for n in (1, 1 + more))
            overhead = (wall_more - wall - (train_more - train)) / more
            click.echo(
                f"{mode:<11} run of 1: {wall:5.1f} s ({train:.1f} s training)   "
                f"run of {1 + more}: {wall_more:5.1f} s ({train_more:.1f} s training)   "
                f"overhead of one more training: {overhead:4.1f} s"
            )


if __name__ == "__main__":
    main()
