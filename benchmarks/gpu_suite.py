"""What a GPU shows and a CPU cannot, in at most ten minutes.

    python benchmarks/gpu_suite.py --out DIR --cifar ../shared/data/cifar10

Needs neither Ray, nor a network, nor an installed ssl-sweep: it runs from a checkout. Each part is a process
of its own with its own time limit, so that one that fails or hangs takes no other along. Rows are saved one
by one in DIR/PART.json, with what a part printed in DIR/PART.log; DIR/suite.json and DIR/table.md have them
all. The same command goes on: what was measured is not measured again, what failed is. `--only views,steps`
runs some parts; `--fresh` forgets their rows. `--tiny` runs everything that a CPU can run, in small.

Parts: parity, views, steps, switches, precision, resume, probe, two, cifar (for the time that is left).
Exit code 0 if every part is complete, else 3. docs/gpu.md says what each part answers.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gpu_record import SLOW, table

HERE = Path(__file__).resolve().parent
UNFINISHED = 3
# Seconds that a part may take, in the order of their worth. The last one takes what is left.
LIMITS = {
    "parity": 60,
    "steps": 120,
    "views": 60,
    "switches": 150,
    "precision": 100,
    "resume": 60,
    "two": 90,
    "probe": 180,
    "cifar": 600,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the results, and of the checkpoints of `cifar`"
    )
    parser.add_argument("--cifar", type=Path, help="folder of CIFAR-10, see cifar_data.py; noise without it")
    parser.add_argument("--minutes", type=float, default=10.0, help="of all parts together")
    parser.add_argument("--only", default=",".join(LIMITS), help="parts, separated by commas")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="default: cuda if torch sees one")
    parser.add_argument("--tiny", action="store_true", help="small sizes: to try the suite itself")
    parser.add_argument("--fresh", action="store_true", help="forget the rows of the chosen parts")
    args = parser.parse_args()
    if unknown := set(args.only.split(",")) - set(LIMITS):
        parser.error(f"--only: no part {', '.join(sorted(unknown))}; there are {', '.join(LIMITS)}")
    return run_suite(args)


def run_suite(args: argparse.Namespace) -> int:
    """Every part in a process of its own."""
    until = time.monotonic() + 60 * args.minutes
    args.out.mkdir(parents=True, exist_ok=True)
    wanted = [part for part in LIMITS if part in args.only.split(",")]
    notes: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as place:
        # the checkout itself, wherever it lies and whatever is installed, under the package's name
        Path(place, "ssl_sweep").symlink_to(HERE.parent, target_is_directory=True)
        sys.path[:0] = [place, str(HERE)]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [*sys.path[:2], os.getenv("PYTHONPATH")]))
        os.environ["SCIPY_ARRAY_API"] = "1"  # before scipy is imported
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # for deterministic algorithms
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # to look for a GPU must not start CUDA
        start_processes_by_forks()
        for part in wanted:
            if args.fresh:
                (args.out / f"{part}.json").unlink(missing_ok=True)
            left = until - time.monotonic()
            if left < 5:
                notes[part] = "not started: no time left; run the same command again"
                continue
            started, limit = time.monotonic(), min(LIMITS[part], left)
            process = multiprocessing.Process(target=run_part, args=(args, part, limit))
            process.start()
            process.join(limit + 10)
            if process.is_alive():
                process.kill()
                process.join()
                notes[part] = f"ended after its limit of {limit:.0f} s"
            elif process.exitcode not in (0, UNFINISHED):
                said = (args.out / f"{part}.log").read_text().strip().splitlines()
                notes[part] = f"exit code {process.exitcode}: {(said or [''])[-1]}"
            seconds = time.monotonic() - started
            print(f"{part}: {seconds:.0f} s{', ' + notes[part] if part in notes else ''}", flush=True)
    return summarise(args.out, wanted, notes)


def start_processes_by_forks() -> None:
    """Parts fork from a process that has imported torch, which saves some seconds each.

    A fork cannot use CUDA if an import has started it already. Then every part imports all by itself.
    """
    for method in ("forkserver", "spawn"):
        multiprocessing.set_start_method(method, force=True)
        multiprocessing.set_forkserver_preload(SLOW)
        trial = multiprocessing.Process(target=use_gpu)
        trial.start()
        trial.join()
        if trial.exitcode == 0:
            return


def use_gpu() -> None:
    """Compute something there, if there is one."""
    import torch

    if torch.cuda.is_available():
        torch.zeros(1, device="cuda").add_(1).cpu()


def summarise(out: Path, wanted: list[str], notes: dict[str, str]) -> int:
    """Write suite.json and table.md of all parts in ``out``; print the table."""
    everything: dict[str, Any] = {}
    text = []
    complete = not notes
    for part in LIMITS:
        file = out / f"{part}.json"
        if not file.exists():
            continue
        found = json.loads(file.read_text())
        everything[part] = found | {"note": notes.get(part, "")}
        text.append(table(f"{part}: {found['settings']['machine']}", found["rows"]))
        if part in notes:
            text.append(f"{notes[part]}\n")
        if part in wanted:
            rows = found["rows"].values()
            complete &= all("error" not in r and r.get("needs", "a GPU") == "a GPU" for r in rows)
            if any(row.get("needs") == "a GPU" for row in rows):
                text.append(f"Needs a GPU: `python benchmarks/gpu_suite.py --out DIR --only {part}`\n")
    complete &= all(part in everything for part in wanted)
    (out / "suite.json").write_text(json.dumps(everything, indent=1) + "\n")
    (out / "table.md").write_text("\n".join(text))
    print("\n".join(text))
    return 0 if complete else UNFINISHED


def run_part(args: argparse.Namespace, part: str, limit: float) -> None:
    """One part, in this process; what it prints goes to its log."""
    started = time.monotonic()
    log = os.open(args.out / f"{part}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    import gpu_learning
    import gpu_steps
    import torch
    from gpu_record import Record
    from machine import header

    cuda = torch.cuda.is_available() if args.device is None else args.device == "cuda"
    device = "cuda" if cuda else "cpu"
    if not cuda:
        torch.set_num_threads(1)  # busy neighbours make more of them slow
    name = torch.cuda.get_device_name() if cuda else "no GPU"
    print(header("torch", "torchvision", "numpy"), name, flush=True)
    settings = {"machine": f"{name}, torch {torch.__version__}", "tiny": args.tiny}
    until = started + limit - (0 if args.tiny else 8)
    record = Record(args.out / f"{part}.json", settings, cuda=cuda, tiny=args.tiny, until=until)
    work = args.out / "work" / part
    if part in ("parity", "views", "steps", "switches"):
        getattr(gpu_steps, part)(record, device)
    elif part == "probe":
        gpu_learning.probe(record, device)
    elif part == "two":
        gpu_learning.two(record, device, work)
    elif part == "cifar":
        minutes = (until - time.monotonic() - 10) / 60
        gpu_learning.cifar(record, device, args.cifar, work, max(0.1, minutes))
    else:
        getattr(gpu_learning, part)(record, device, args.cifar, work)
    sys.exit(0 if record.complete else UNFINISHED)


if __name__ == "__main__":
    sys.exit(main())
