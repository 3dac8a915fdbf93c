"""Steps are timed in the trainer itself."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ssl_sweep.ssl_core.config.pretrain import default_config
from ssl_sweep.ssl_core.training.timing import time_steps


@pytest.mark.parametrize(("method", "images"), [("simclr", 96), ("supervised", 100_000)])
def test_times_are_those_of_the_clock(tmp_path: Path, method: str, images: int) -> None:
    """With three steps an epoch and with more images than there is time for."""
    config = default_config("resnet-demo", 32, method=method, batch=32)
    started = time.perf_counter()
    found = time_steps(config, images, tmp_path, warm_up_s=0.1, seconds=0.5)
    took = time.perf_counter() - started
    assert found.steps >= 3 and 0 < found.step_s * found.steps < took
    assert found.epoch_s > 0 and found.checkpoint_s > 0
    assert found.step_s * found.steps > 0.2  # the half second but for what epochs' ends took
    assert not list(tmp_path.glob("encoder*"))
