"""`ssl-sweep calibrate` measures what the plan lacks, and the plan then says so."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ssl_sweep.sweep.cost import calibrate
from ssl_sweep.sweep.cost.calibrate import calibrate_grid
from ssl_sweep.sweep.cost.calibrate_job import Job, Measured
from ssl_sweep.sweep.cost.estimate import costed
from ssl_sweep.sweep.cost.machine import Machine
from ssl_sweep.sweep.cost.rates import calibrations
from ssl_sweep.sweep.errors import InfeasibleError
from ssl_sweep.sweep.util.files import remove_abandoned, temporary


def test_what_a_killed_measurement_left_is_removed_and_other_peoples_files_are_not(tmp_path: Path) -> None:
    source = "import sys; from pathlib import Path; from ssl_sweep.sweep.util.files import temporary\n"
    source += "temporary(Path(sys.argv[1]), 'calibrate').mkdir()"
    subprocess.run([sys.executable, "-c", source, str(tmp_path)], check=True)
    mine, others = temporary(tmp_path, "calibrate"), tmp_path / ".other-process.tmp"
    mine.mkdir()
    others.mkdir()
    assert len(list(tmp_path.iterdir())) == 3
    remove_abandoned(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([mine, others])


class _SmallGpu:
    machine = Machine(cpus=2, gpus=0, device="cpu", hardware="a processor")

    def measure(self, jobs: Sequence[Job]) -> list[Measured]:
        raise RuntimeError("CUDA out of memory. Tried to allocate 20 GiB.\nand more")


def test_a_measurement_that_fails_is_a_message(sweeps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "_processes", lambda *_: contextlib.nullcontext(_SmallGpu()))
    with pytest.raises(InfeasibleError) as error:
        store = str(sweeps.store.root)
        calibrate_grid(sweeps.write(), (), store, None, seconds=1, again=False, say=lambda text: None)
    assert "simclr · resnet-demo · 32 px · batch 64 cannot be measured here: CUDA out of memory" in str(
        error.value
    )


@pytest.mark.slow
@pytest.mark.exhaustive
def test_every_shape_is_measured_once_with_neighbours(sweeps: Any) -> None:
    grid = sweeps.write(sweeps.grid.replace("epochs: 2", "epochs: [2, 3]"))
    store, compute = str(sweeps.store.root), ("compute.device=cpu", "compute.cpus_per_worker=1")
    said: list[str] = []

    def measured() -> int:
        return len(calibrate_grid(grid, compute, store, None, seconds=0.5, again=False, say=said.append))

    assert measured() == 1  # epochs, images and domains make no shape
    (found,) = calibrations(sweeps.store.storage).values()
    assert found.copies >= 1 and found.step_s > 0 and found.shape.batch == 64
    assert measured() == 0 and said[-1].startswith("0 shapes")
    after = costed(grid, compute, store, None, None).estimate
    assert after.trainings.sources == {"calibrated": 12}
    other = costed(grid, (*compute, "pretrain=[{domain: objects, images: 400, batch: 32}]"), store, 2, 0)
    assert other.estimate.trainings.sources == {"scaled": 1}
    assert "scaled from batch 64" in "\n".join(other.estimate.lines())
