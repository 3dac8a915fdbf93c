"""Time to plan 10,000 cells on one core: with an empty store, and with one that holds all of them complete.

    python benchmarks/plan_time.py [--cells 10000] [--store s3://bucket/empty]

Prints the seconds from the grid file to the plan (validation, expansion, identities, reading the store).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from ssl_sweep.data_ops.dataset.prepared import DatasetManifest
from ssl_sweep.data_ops.hashing import derive_seed, hash64
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.planner import plan_grid
from ssl_sweep.sweep.spec.files import FILES
from ssl_sweep.sweep.store.manifest import RunRecord
from ssl_sweep.sweep.store.store import Store

GRID = """\
name: plan-time
datasets:
  a: {{source: synthetic, domain: objects}}
  b: {{source: synthetic, domain: scenes}}
pretrain:
  - domain: [a, b, [a, b]]
    images: [250, 500, 1000, 2000, 4000]
    seed: [{seeds}]
evaluate:
  - domain: [a, b]
    labels: [50, 100, 200, 400, 800, 1600, 3200]
    seed: [0, 1, 2, 3, 4]
"""
CLASSES = tuple("abcdefghij")
PER_SEED = 3 * 5 * 2 * 7 * 5
LEVELS = {"top1": 0.5, "top1_std_err": 0.01, "top5": 0.9, "balanced_accuracy": 0.5, "n_test": 1000}


def write_grid(folder: Path, cells: int) -> Path:
    """A grid of at least `cells` cells."""
    path = folder / "grid.yaml"
    path.write_text(GRID.format(seeds=", ".join(map(str, range(-(-cells // PER_SEED))))))
    return path


def fill(store: Store, plan: Plan) -> None:
    """Commits every stage of a plan with files of a byte."""
    for stage in plan.stages:
        files = [store.path(stage.kind, stage.id) / name for name in FILES[stage.kind]]
        if stage.kind == "probe":
            files = [store.predictions(stage.id)]
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"x")
        outputs: dict[str, object] = {"levels": {"class": LEVELS, "group": LEVELS}, "C": 1.0}
        if stage.kind == "prepare":
            outputs = {"fingerprint": f"data-{stage.id}", "n_train": 4000, "n_test": 1000}
            outputs["levels"] = ["class", "group"]
            write_dataset(store.path("prepare", stage.id) / "data", f"data-{stage.id}")
        store.commit(stage.kind, stage.id, stage.spec, stage.upstream, outputs, RunRecord.since(time.time()))


def write_dataset(folder: Path, fingerprint: str) -> None:
    """What planning reads of a prepared dataset: its manifest, and the keys and labels of its images."""
    manifest = DatasetManifest(
        fingerprint=fingerprint,
        size=32,
        n_train=4000,
        n_test=1000,
        levels=("class", "group"),
        class_names=(CLASSES, ("all",)),
        parents=((0,) * len(CLASSES),),
    )
    (folder / "dataset.json").write_text(manifest.to_json())
    for split, n in (("train", 4000), ("test", 1000)):
        np.save(folder / f"{split}_keys.npy", hash64(derive_seed(fingerprint, split), np.arange(n)))
        labels = np.stack([np.arange(n) % len(CLASSES), np.zeros(n, np.int64)], axis=1)
        np.save(folder / f"{split}_labels.npy", labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--store", help="an empty store; default: a folder that is removed")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        grid = write_grid(Path(name), args.cells)
        store = Store(args.store or Path(name) / "store")

        def timed(what: str) -> Plan:
            started, cpu = time.perf_counter(), time.process_time()
            _, plan = plan_grid(grid, (), store)
            wall, cpu = time.perf_counter() - started, time.process_time() - cpu
            print(
                f"{what}: {len(plan.cells):,} cells, {len(plan.stages):,} stages, {len(plan.to_run):,}"
                f" to run: {wall:.2f} s ({cpu:.2f} s of CPU)"
            )
            return plan

        fill(store, Plan(sweep="", cells=(), stages=timed("empty store").prepares, cell_stages={}))
        fill(store, timed("datasets prepared"))
        timed("everything complete")


if __name__ == "__main__":
    main()
