"""One of several gloo processes: its part of the joined batches, then some trainings. Not a test itself."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import torch
import torch.distributed as dist
from joined_batch import all_cases, joined_batches
from training_case import CURVES, calm_config, small_config, train

from ssl_sweep.ssl_core.training.reporter import LocalReporter
from ssl_sweep.ssl_core.training.trainer import Interrupted


class StopsAfter(LocalReporter):
    """Asks to stop when it is asked for the `asked`-th time; only rank 0's word counts."""

    def __init__(self, workdir: Path, rank: int, asked: int) -> None:
        super().__init__(workdir, rank)
        self._left = asked

    def stop_requested(self) -> bool:
        self._left -= 1
        return self._left <= 0


def main(folder: Path, rank: int, world: int) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    torch.save(all_cases(joined_batches(12), rank, world), folder / f"rank{rank}.pt")

    for method in CURVES:
        curve = folder / f"curve-{method}"
        train(curve, calm_config(method=method), images=32, reporter=LocalReporter(curve, rank))

    left = folder / "left"  # for a number of workers of one's own
    with suppress(Interrupted):
        train(left, calm_config(), images=32, reporter=StopsAfter(left, rank, asked=1))

    config = small_config(epochs=3)
    train(folder / "straight", config, reporter=LocalReporter(folder / "straight", rank))
    try:
        train(folder / "resumed", config, reporter=StopsAfter(folder / "resumed", rank, asked=2))
    except Interrupted:
        train(folder / "resumed", config, reporter=LocalReporter(folder / "resumed", rank))
    else:
        raise AssertionError("the training was not interrupted")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
