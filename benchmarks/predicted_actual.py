"""Calibrate, then run trainings of more than a minute, and compare what was predicted with what was taken.

    python benchmarks/predicted_actual.py [--methods simclr supervised] [--seeds 2] [--scale 1.0]

The goal is ± 15 % for every training after `ssl-sweep calibrate` on the same machine; neighbours that come or
go in between count as a miss. With two seeds two trainings run beside each other on two cores, as calibrated.
Also prints the wall time that `plan` gave and that of the run, and the store's size against the plan's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import header

from ssl_sweep.sweep.store.store import Store

WITHIN = 0.15
# Epochs of 2,000 images at 32 px with the demo encoder that take somewhat more than a minute of a core.
EPOCHS = {"simclr": 70, "supervised": 150, "byol": 50, "moco-v2": 80, "rotation": 45}
ROOT = Path(__file__).resolve().parent.parent


def grid(methods: list[str], seeds: int, scale: float) -> str:
    blocks = "".join(
        f"  - {{method: {method}, domain: objects, images: 2000, seed: {list(range(seeds))},"
        f" epochs: {max(1, round(EPOCHS[method] * scale))}}}\n"
        for method in methods
    )
    return (
        "name: predicted-actual\n"
        "datasets:\n  objects: {source: synthetic, domain: objects, train: 2000, test: 200}\n"
        f"pretrain:\n{blocks}"
        "evaluate: {domain: objects, labels: 200}\n"
        "compute: {device: auto, mode: in-process}\n"
    )


def command(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ssl_sweep.cli", *arguments], stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        sys.exit(f"{arguments[0]} ended with {done.returncode}")
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", default=["simclr", "supervised"], choices=EPOCHS)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0, help="of the epochs, for faster or slower cores")
    args = parser.parse_args()
    print(header("torch", "ray"))
    with tempfile.TemporaryDirectory() as folder:
        path, store = Path(folder) / "grid.yaml", str(Path(folder) / "store")
        path.write_text(grid(args.methods, args.seeds, args.scale))
        print(command("calibrate", str(path), "--store", store))
        plan: dict[str, Any] = json.loads(command("plan", str(path), "--store", store, "--json"))["estimate"]
        started = time.monotonic()
        command("run", str(path), "--store", store)
        took = time.monotonic() - started
        ratios = []
        for manifest in Store(store).manifests("pretrain"):
            config = manifest.spec["config"]
            predicted, actual = manifest.run.predicted_s, float(manifest.outputs["seconds"])
            ratios.append(actual / predicted)
            print(
                f"{config['method']:<12} seed {config['seed']}  predicted {predicted:7.1f} s"
                f" ({manifest.run.predicted_from})  took {actual:7.1f} s  ratio {actual / predicted:.2f}"
            )
        size = sum(file.stat().st_size for file in Path(store).rglob("*") if file.is_file())
    print(f"wall time: plan {plan['wall_s']:.0f} s, run {took:.0f} s, ratio {took / plan['wall_s']:.2f}")
    print(f"store: plan {plan['disk_bytes'] / 1e6:.1f} MB, there {size / 1e6:.1f} MB")
    good = sum(abs(ratio - 1) <= WITHIN for ratio in ratios)
    print(f"{good} of {len(ratios)} trainings within ± {WITHIN:.0%}")
    sys.exit(0 if good == len(ratios) else 1)


if __name__ == "__main__":
    main()
