"""Kill the driver 200 times at random moments, run again after each, and see that nothing is lost or twice.

    python benchmarks/kill_sweep.py [--kills 200] [--seed 0]

The orchestration, the store and the MLflow mirror are the real ones; stages are made up (`fake_stages`) and
performed by two plain processes. Every other kill hits the driver alone, so that its workers live on for a
moment beside the next run's; the others hit the whole process group. A sweep is killed until a run gets
through, is then judged, and the next one begins in an empty store. Ends with 1 at the first fault.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HELPERS = Path(__file__).parents[1] / "tests" / "helpers"
sys.path.insert(0, str(HELPERS))

from soundness import faults, table  # noqa: E402

from ssl_sweep.sweep.planning.planner import plan_grid  # noqa: E402
from ssl_sweep.sweep.store.store import Store  # noqa: E402

GRID = """
name: killed
datasets:
  objects: {source: synthetic, domain: objects, train: 120, test: 40}
  scenes: {source: synthetic, domain: scenes, train: 120, test: 40}
pretrain:
  - {domain: [objects, scenes, [objects, scenes]], images: [40, 80], batch: 20, epochs: 2}
  - {method: random, seed: 0}
evaluate:
  - {domain: [objects, scenes], labels: [20, all], seed: [0, 1]}
"""
TRAIN_S = 0.6
# In parts of an undisturbed run's time. Most kills come early, while it starts, plans, prepares and trains.
EARLY, LATE, LATE_SHARE = (0.02, 0.3), (0.3, 0.9), 0.25


def start(grid: Path, store: Path, train_s: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, HELPERS / "light_run.py", grid, "--store", store, "--train-s", str(train_s)]
    log = (store.parent / "log.txt").open("ab")
    with log:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment)


def killed(process: subprocess.Popen[bytes], moment: float, group: bool) -> bool:
    """Whether it was; False where it had ended by itself, well."""
    try:
        process.wait(timeout=moment)
    except subprocess.TimeoutExpired:
        (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
        process.wait()
        return True
    if process.returncode:
        raise SystemExit(f"a run ended with {process.returncode}; see its log.txt")
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train-s", type=float, default=TRAIN_S)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    folder = Path(tempfile.mkdtemp(prefix="ssl-sweep-kills-"))
    grid = folder / "grid.yaml"
    grid.write_text(GRID)
    began = time.monotonic()
    assert not killed(start(grid, folder / "undisturbed", args.train_s), 300, False)
    alone = time.monotonic() - began
    store = Store(folder / "undisturbed")
    undisturbed = table(plan_grid(grid, (), store)[1], store)
    assert not faults(grid, store.root, undisturbed)
    print(f"undisturbed: {alone:.1f} s, {len(store.executions())} stages", flush=True)

    took = min(alone, 14.0)  # follows the machine, which may be busy with other things
    kills: Counter[str] = Counter()
    sweeps = in_mirror = 0
    began = time.monotonic()
    while kills.total() < args.kills:
        sweeps += 1
        root = folder / f"sweep-{sweeps}"
        while True:
            late = chance.random() < LATE_SHARE
            moment, group = took * chance.uniform(*(LATE if late else EARLY)), chance.random() < 0.5
            if kills.total() == args.kills:
                moment = 300.0
            if not killed(start(grid, root, args.train_s), moment, group):
                took = max(3.0, 0.8 * took)
                break
            took *= 1.03
            kills["the process group" if group else "the driver alone"] += 1
            in_mirror += (root / "mlflow" / "mlflow.db").exists()
        found = faults(grid, root, undisturbed)
        print(f"sweep {sweeps}: {kills.total()} kills so far, {time.monotonic() - began:.0f} s", flush=True)
        if found:
            print("\n".join(found[:20]), f"\nkept for a look: {root}", sep="")
            raise SystemExit(1)
    for who, count in kills.items():
        print(f"{count} kills hit {who}")
    print(f"{in_mirror} came once the mirror had begun to write; {sweeps} sweeps, every one whole")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
