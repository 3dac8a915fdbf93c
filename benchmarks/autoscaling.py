"""A sweep on a cluster that grows from its head alone and shrinks back to it, second by second.

    python benchmarks/autoscaling.py [--mode workers] [--trainings 6] [--figure docs/autoscaling.png]

Real Ray, real autoscaler; its nodes are processes on this machine (Ray's fake multi-node provider).
Trainings are the tests' `sleep` method, of 2 CPUs, on a head of 1 CPU that cannot hold them and at most 3
nodes of 2 CPUs. Looked at each second: nodes, what waits for room, trainings leased. Ends with 1 unless the
cluster grew, shrank to none, never asked for more than the trainings that were left, and (mode workers) kept
every trial's driver on the head.
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
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/helpers"))

from ray_head import Head

from ssl_sweep.sweep.store.leases import holders
from ssl_sweep.sweep.store.store import Store

HERE = Path(__file__).parents[1]
MOST_NODES, CPUS = 3, 2
_PATIENCE_S = 540
GRID = """
name: autoscaling
datasets:
  objects: {{source: synthetic, domain: objects, train: 60, test: 30}}
pretrain:
  - {{method: sleep, domain: objects, images: 40, batch: 20, epochs: 10, seed: [{seeds}]}}
evaluate:
  - {{domain: objects, labels: 20}}
compute: {{cpus_per_worker: {cpus}, mode: {mode}, workers: {workers}}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=["in-process", "workers"], default="in-process")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--trainings", type=int, default=8)
    parser.add_argument("--step-s", type=float, default=1.0)
    parser.add_argument("--idle-s", type=float, default=8.0)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--keep", type=Path, help="Write the samples to this file.")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="autoscaling-") as name:
        samples, code = observe(Path(name), args)
    if args.keep:
        args.keep.write_text(json.dumps(samples))
    if args.figure:
        draw(samples, args.figure)
    sys.exit(judge(samples, code, args))


def observe(folder: Path, args: argparse.Namespace) -> tuple[list[dict[str, Any]], int]:
    """What was seen each second from the sweep's start to the last node's end, and the sweep's exit code."""
    seeds = ", ".join(map(str, range(args.trainings)))
    grid = folder / "grid.yaml"
    grid.write_text(GRID.format(seeds=seeds, cpus=CPUS, mode=args.mode, workers=args.workers))
    env = {
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE / "tests/helpers/plugins")]),
        "SLEEP_METHOD_S": str(args.step_s),
    }
    kind = {"resources": {"CPU": CPUS}, "node_config": {}, "min_workers": 0, "max_workers": MOST_NODES}
    head = Head(cpus=1, autoscaling={"small": kind}, most=MOST_NODES, idle_s=args.idle_s, env=env)
    environment = os.environ | head.env | env | {"OMP_NUM_THREADS": "1"}
    watch = [sys.executable, str(HERE / "tests/helpers/cluster_watch.py"), head.address]
    lines = folder / "watch.jsonl"
    watcher = subprocess.Popen([*watch, str(lines)], env=environment)
    store = Store(folder / "store")
    started = time.time()
    words = ["run", str(grid), "--store", str(folder / "store"), "--address", head.address]
    run = subprocess.Popen([sys.executable, "-m", "ssl_sweep.cli", *words], env=environment)
    trainings: list[tuple[float, int, int]] = []
    try:
        while run.poll() is None or nodes_now(lines) > 0:
            if time.time() - started > _PATIENCE_S:
                break
            leased = sum(key.startswith("pretrain-") for key in holders(store.storage))
            done = len(list((folder / "store/pretrain").glob("*/manifest.json")))
            trainings.append((time.time(), leased, args.trainings - done))
            time.sleep(1.0)
    finally:
        watcher.terminate()
        watcher.wait()
        if run.poll() is None:
            run.kill()
        head.stop()
    samples = []
    for seen in map(json.loads, lines.read_text().splitlines()):
        before = [each for each in trainings if each[0] <= seen["t"]]
        _, leased, left = before[-1] if before else (0.0, 0, args.trainings)
        samples.append(seen | {"t": seen["t"] - started, "leased": leased, "left": left})
    return samples, run.returncode


def nodes_now(lines: Path) -> int:
    written = lines.read_text().splitlines() if lines.exists() else []
    return int(json.loads(written[-1])["workers"]) if written else 0


def asked(sample: dict[str, Any]) -> int:
    """Workers of trainings that wait for room; light stages are smaller than half a CPU."""
    return sum(cpus >= 1 for cpus in sample["waiting"])


def judge(samples: list[dict[str, Any]], code: int, args: argparse.Namespace) -> int:
    workers = [sample["workers"] for sample in samples]
    most_asked = max(map(asked, samples))
    over = [s for s in samples if asked(s) > s["left"] * args.workers]
    strays = [
        s["drivers"] for s in samples if args.mode == "workers" and any(d[1] != "head" for d in s["drivers"])
    ]
    grew = next((s["t"] for s in samples if s["workers"]), None)
    last_training = max((s["t"] for s in samples if s["left"]), default=0.0)
    print(
        f"{args.trainings} trainings, mode {args.mode}, {args.workers} workers each: exit code {code}\n"
        f"nodes beside the head: {workers[0]} at first, {max(workers)} at most, {workers[-1]} at the end\n"
        f"first node after {grew or 0:.0f} s, last training done after {last_training:.0f} s,"
        f" none left after {samples[-1]['t']:.0f} s\n"
        f"asked for at most {most_asked} workers at a time; trainings leased: at most"
        f" {max(s['leased'] for s in samples)};"
        f" more than was left to train in {len(over)} of {len(samples)} samples\n"
        + (f"drivers of trials outside the head: in {len(strays)} samples" if args.mode == "workers" else "")
    )
    right = (
        code == 0 and workers[0] == 0 and max(workers) > 0 and workers[-1] == 0 and not over and not strays
    )
    return 0 if right else 1


def draw(samples: list[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 3.6), layout="constrained")
    times = [sample["t"] for sample in samples]
    series = (
        ("trainings left", [s["left"] for s in samples], "0.65", ":", 1.8),
        ("asked for and not there yet", [asked(s) for s in samples], "#d95f02", "-", 1.8),
        ("trainings started or asked for", [s["leased"] for s in samples], "#7570b3", "--", 1.8),
        ("nodes beside the head", [s["workers"] for s in samples], "#1b9e77", "-", 2.6),
    )
    for label, values, colour, style, width in series:
        axes.step(times, values, where="post", label=label, color=colour, linestyle=style, linewidth=width)
    axes.axhline(MOST_NODES, color="0.85", linewidth=1, zorder=0)
    axes.annotate("most nodes", (0, MOST_NODES), (2, 2), textcoords="offset points", color="0.5", fontsize=8)
    axes.set(xlabel="seconds since the start of the sweep", ylim=(0, None), xlim=(0, times[-1]))
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8.5)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
