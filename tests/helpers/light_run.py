"""`ssl-sweep run` on plain processes instead of Ray, with made-up stages or real ones.

    python tests/helpers/light_run.py GRID --store STORE [--train-s 0.1 | --real] [--without-mirror]

Ends like `ssl-sweep run`; `--report FILE` gets a JSON object with the seconds and the memory of this process.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fake_stages import FakeWork
from process_workplace import ProcessWorkplace, RealWork

from ssl_sweep.sweep.cost.limits import Limits
from ssl_sweep.sweep.errors import SweepError
from ssl_sweep.sweep.run import run as run_module
from ssl_sweep.sweep.run.progress import LineListener

_PAGE_KIB = resource.getpagesize() // 1024


class NoMirror:
    """Replaces the mirror, to measure what it costs."""

    final = False

    def __init__(self, *_: object) -> None: ...

    def start(self) -> None: ...

    def finished(self, stage: object) -> None: ...

    def finish(self, at_most: float = 0.0) -> str:
        return ""


class Quiet(LineListener):
    """Says what matters, and not every change of ten thousand stages."""

    def changed(self, stage: object, status: str, message: str) -> None:
        if status not in ("running", "complete"):
            super().changed(stage, status, message)  # type: ignore[arg-type]


@contextmanager
def sampled(every_s: float = 1.0) -> Iterator[list[tuple[float, int]]]:
    """(seconds, resident KiB) of this process, every second."""
    samples: list[tuple[float, int]] = []
    over, started = threading.Event(), time.monotonic()

    def sample() -> None:
        while not over.wait(every_s):
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_KIB
            samples.append((round(time.monotonic() - started, 1), resident))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("grid", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--store", required=True)
    parser.add_argument("--tracking-uri")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--train-s", type=float, default=0.0)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--without-mirror", action="store_true")
    parser.add_argument("--max-cost", type=float)
    parser.add_argument("--report", type=Path)
    args = parser.parse_args()
    if args.without_mirror:
        run_module.Mirror = NoMirror  # type: ignore[assignment,misc]
    work = RealWork() if args.real else FakeWork(args.train_s)
    try:
        with sampled() as memory:
            result = run_module.run(
                args.grid,
                args.overrides,
                store_uri=args.store,
                tracking_uri=args.tracking_uri,
                address=None,
                listener=Quiet(),
                workplace=ProcessWorkplace(work, args.workers),
                limits=Limits(cost=args.max_cost),
            )
    except SweepError as error:
        print(error.report(), file=sys.stderr)
        sys.exit(error.exit_code)
    for stage, why in result.failed:
        print(f"failed: {stage.kind} {stage.id}: {why}", file=sys.stderr)
    if result.mirror_error:
        print(f"MLflow is behind: {result.mirror_error}", file=sys.stderr)
    if result.limit:
        print(result.limit, file=sys.stderr)
    found = {"seconds": result.seconds, "executed": len(result.executed), "mirror": result.mirror_error}
    print(json.dumps(found))
    if args.report:
        args.report.write_text(json.dumps({**found, "memory": memory, "cpu": time.process_time()}))
    sys.exit(result.exit_code)


if __name__ == "__main__":
    main()
