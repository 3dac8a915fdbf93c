"""`ssl-sweep calibrate` measures what the plan lacks, and the plan then says so."""

from __future__ import annotations

from typing import Any

import pytest

from sweep.calibrate import calibrate_grid
from sweep.calibration import calibrations
from sweep.estimate import costed


@pytest.mark.slow
@pytest.mark.exhaustive
def test_every_shape_is_measured_once_with_neighbours(sweeps: Any) -> None:
    grid = sweeps.write(sweeps.grid.replace("epochs: 2", "epochs: [2, 3]"))
    store, compute = str(sweeps.store.root), ("compute.device=cpu", "compute.cpus_per_worker=1")
    said: list[str] = []

    def calibrate() -> int:
        return len(calibrate_grid(grid, compute, store, None, seconds=0.5, again=False, say=said.append))

    assert calibrate() == 1  # epochs, images and domains make no shape
    (found,) = calibrations(sweeps.store.storage).values()
    assert found.copies >= 1 and found.step_s > 0 and found.shape.batch == 64
    assert calibrate() == 0 and said[-1].startswith("0 kinds")
    after = costed(grid, compute, store, None, None).estimate
    assert after.trainings.sources == {"calibrated": 12}
    other = costed(grid, (*compute, "pretrain=[{domain: objects, images: 400, batch: 32}]"), store, 2, 0)
    assert other.estimate.trainings.sources == {"scaled": 1}
    assert "scaled from batch 64" in "\n".join(other.estimate.lines())
