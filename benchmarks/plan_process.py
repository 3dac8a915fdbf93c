"""Time of `ssl-sweep plan` as a whole process, one command against another, run in turn.

    python benchmarks/plan_process.py OLD/bin/ssl-sweep NEW/bin/ssl-sweep [--cells 10000] [--pairs 5]

Prints seconds and the median ratio NEW / OLD, as text and as JSON, for an empty store and for one that holds
every stage complete. Both commands must print the same JSON document.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from plan_time import fill, write_grid

from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.planner import plan_grid
from ssl_sweep.sweep.store.store import Store


def full_store(path: Path, grid: Path) -> Path:
    """A store in which every stage of the grid is complete."""
    store = Store(path)
    _, first = plan_grid(grid, (), store)
    fill(store, Plan(sweep="", cells=(), stages=first.prepares, cell_stages={}))
    fill(store, plan_grid(grid, (), store)[1])
    return path


def timed(command: Sequence[str]) -> tuple[float, bytes]:
    """Seconds of one process, and what it printed."""
    began = time.perf_counter()
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return time.perf_counter() - began, out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("old", help="the command to compare with")
    parser.add_argument("new", help="the command to judge")
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        grid = write_grid(Path(name), args.cells)
        empty = Path(name) / "empty"
        Store(empty)
        stores = {"empty store": empty, "full store": full_store(Path(name) / "full", grid)}
        for what, store in stores.items():
            for form in ("text", "JSON"):
                arguments = [
                    "plan",
                    str(grid),
                    "--store",
                    str(store),
                    *(["--json"] if form == "JSON" else []),
                ]
                sides: dict[str, list[float]] = {"old": [], "new": []}
                printed: dict[str, bytes] = {}
                for i in range(args.pairs + 1):  # the first pair warms the disk caches
                    for side in ("old", "new"):
                        seconds, printed[side] = timed([getattr(args, side), *arguments])
                        sides[side] += [seconds] if i else []
                if form == "JSON":
                    old, new = (json.loads(printed[side]) for side in ("old", "new"))
                    assert old == new, "the two commands print different documents"
                ratio = median(new / old for old, new in zip(sides["old"], sides["new"], strict=True))
                old_s, new_s = median(sides["old"]), median(sides["new"])
                print(f"{what}, {form}: {old_s:.2f} s → {new_s:.2f} s, ratio {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
