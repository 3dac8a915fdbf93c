"""A sweep of 10,000 cells and 500 trainings that do nothing: what the orchestration itself costs.

    python benchmarks/ten_thousand.py [--trainings 500] [--mirror without]

Everything is real but the stages (`fake_stages`, two plain processes): plan, store, loop, mirror into
SQLite. Prints seconds by training and cell beyond the stages' own, the driver's memory over time, the times
of `plan`, `status` and `results` on the finished store, and the mirror's runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HELPERS = Path(__file__).parents[1] / "tests" / "helpers"
ROOT = HELPERS.parents[1]
sys.path.insert(0, str(HELPERS))

from soundness import mirrored  # noqa: E402

from ssl_sweep.sweep.store.store import Store  # noqa: E402

GRID = """
name: ten-thousand
datasets:
  objects: {{source: synthetic, domain: objects, train: 2000, test: 40}}
  scenes: {{source: synthetic, domain: scenes, train: 2000, test: 40}}
pretrain:
  - domain: [objects, scenes, [objects, scenes], {{objects: 75%, scenes: 25%}}, {{objects: 25%, scenes: 75%}}]
    images: [100, 200, 400, 800, 1000]
    batch: 50
    epochs: 2
    seed: {seeds}
evaluate:
  - {{domain: [objects, scenes], labels: [50, 100, 200, 400, 800], seed: [0, 1]}}
"""
COMMANDS = (("plan", "--json"), ("status",), ("status", "--json"), ("results", "--format", "csv"))


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def command(*arguments: str | Path) -> float:
    """Seconds of one command of the console script, from the shell's point of view."""
    began = time.monotonic()
    call = [sys.executable, "-m", "ssl_sweep.cli", *arguments]
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL, env=environment())
    return time.monotonic() - began


def sweep(grid: Path, store: Path, mirror: bool) -> None:
    report = store.parent / f"{store.name}.json"
    options = ["--store", store, "--report", report, *([] if mirror else ["--without-mirror"])]
    began, cpu = time.monotonic(), os.times()
    call = [sys.executable, HELPERS / "light_run.py", grid, *options]
    process = subprocess.run(call, env=environment(), stdout=subprocess.DEVNULL)
    wall, after = time.monotonic() - began, os.times()
    assert process.returncode == 0
    found = json.loads(report.read_text())
    executions = Store(store).executions()
    work = sum(execution.seconds for execution in executions) / 2  # two processes
    counts = {stage: sum(e.stage == stage for e in executions) for stage in ("pretrain", "features", "probe")}
    beyond = wall - work
    print(f"{'with' if mirror else 'without'} the mirror: {wall:.1f} s, {counts}", flush=True)
    print(f"  the stages' own: {work:.1f} s on each of two processes; beyond it {beyond:.1f} s")
    each = f"{beyond / counts['pretrain']:.3f} s a training, {beyond / counts['probe'] * 1e3:.2f} ms a cell"
    print(f"  beyond: {each}")
    mine = f"{found['cpu'] / counts['probe'] * 1e3:.2f} ms a cell"
    print(f"  the driver's processor time, whatever else the machine does: {found['cpu']:.1f} s, {mine}")
    used = sum(after[2:4]) - sum(cpu[2:4])
    print(f"  processor time of all processes: {used:.1f} s; mirror: {found['mirror'] or 'complete'}")
    memory = found["memory"]
    marks = [memory[round(i * (len(memory) - 1) / 8)] for i in range(9)]
    print(
        "  driver's memory: " + ", ".join(f"{kib / 1024:.0f} MiB at {at:.0f} s" for at, kib in marks),
        flush=True,
    )
    if mirror:
        runs = mirrored(store)
        print(f"  MLflow: {len(runs)} ids, {sum(n != 1 for n in runs.values())} not once", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trainings", type=int, default=500, help="a multiple of 25")
    parser.add_argument("--mirror", choices=("without", "with", "both"), default="both")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        grid = Path(name) / "grid.yaml"
        grid.write_text(GRID.format(seeds=list(range(args.trainings // 25))))
        empty = Path(name) / "empty"
        print(f"plan, nothing there: {command('plan', grid, '--store', empty):.2f} s", flush=True)
        for mirror in {"without": (False,), "with": (True,), "both": (False, True)}[args.mirror]:
            store = Path(name) / ("mirrored" if mirror else "alone")
            sweep(grid, store, mirror)
            for words in COMMANDS:
                seconds = command(words[0], grid, "--store", store, *words[1:])
                print(f"  {' '.join(words)}: {seconds:.2f} s", flush=True)


if __name__ == "__main__":
    main()
