"""A fine-tuning that was interrupted, killed, or ran out of memory."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import finetune_case
import numpy as np
import pytest
import torch
from finetune_case import budget_of, config_of, fit, logits_of, random_start, resumed_logits

from ssl_sweep.ssl_core.evaluation import finetune as module
from ssl_sweep.ssl_core.evaluation.finetune import Supervision
from ssl_sweep.ssl_core.training.memory import OutOfMemory
from ssl_sweep.ssl_core.training.reporter import CHECKPOINT_FILE
from ssl_sweep.ssl_core.training.trainer import Interrupted

TOTAL = 120  # steps of all ten fits


@pytest.fixture(autouse=True)
def looking_every_step(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.0)


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> np.ndarray:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        return resumed_logits(tmp_path_factory.mktemp("straight"), patch)


def test_stopped_in_every_phase_it_gives_the_same_logits_bit_for_bit(tmp_path, monkeypatch, straight):
    """In a fold, in a later rate's fold, in the final fit; each part does only what is left."""
    done: list[int] = []
    for stop_at in (5, 67, 111):
        with pytest.raises(Interrupted, match=f"after step {stop_at} of {TOTAL}"):
            resumed_logits(
                tmp_path,
                monkeypatch,
                progress=lambda now, total: done.append(now),
                stop=lambda limit=stop_at: done[-1] >= limit,
            )
    found = resumed_logits(tmp_path, monkeypatch, progress=lambda now, total: done.append(now))
    assert np.array_equal(found, straight)
    assert done[-1] == TOTAL and len(done) < TOTAL + 30  # a word for every step, and for what is skipped


def test_killed_it_goes_on_and_gives_the_same_logits(tmp_path, monkeypatch, straight):
    file = tmp_path / CHECKPOINT_FILE
    script = Path(finetune_case.__file__)
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (file.exists() and file.stat().st_size):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL and file.exists()
    assert np.array_equal(resumed_logits(tmp_path, monkeypatch), straight)


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """A folder with the checkpoint of a fine-tuning that was stopped."""
    folder = tmp_path_factory.mktemp("kept")
    with pytest.raises(Interrupted):
        fit(budget_of(20), watched=Supervision(folder=folder, stop=lambda: True))
    return folder


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "other seed"),
        ({"config": config_of(weight_decay=0.1)}, "other config"),
        ({"encoder": random_start(1)}, "other encoder"),
    ],
)
def test_a_checkpoint_of_another_fine_tuning_is_refused(kept, change, named):
    with pytest.raises(ValueError, match=f"another fine-tuning \\({named}\\).*delete it"):
        fit(budget_of(20), watched=Supervision(folder=kept), **change)


def test_a_checkpoint_of_another_budget_is_refused(kept):
    other = replace(budget_of(20), labels=budget_of(20).labels[::-1].copy())
    with pytest.raises(ValueError, match="other budget"):
        fit(other, watched=Supervision(folder=kept))


def test_a_checkpoint_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / CHECKPOINT_FILE).write_bytes(b"half")
    with pytest.raises(ValueError, match=r"is not a readable checkpoint.*delete it"):
        fit(budget_of(20), watched=Supervision(folder=tmp_path))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA"), MemoryError()])
def test_out_of_memory_names_the_ways_out(monkeypatch, error):
    def update(*_):
        raise error

    monkeypatch.setattr(module._Fits, "_update", update)
    with pytest.raises(OutOfMemory) as found:
        fit(budget_of(20), config=config_of(batch=8))
    assert "batches of 7 at 16 px" in str(found.value)
    assert "use activation_checkpointing (the same result, slower), or a machine with" in str(found.value)
    with pytest.raises(OutOfMemory) as found:
        fit(budget_of(20), activation_checkpointing=True)
    assert "activation_checkpointing" not in str(found.value)


def test_activation_checkpointing_changes_nothing(monkeypatch):
    budget = budget_of(6)
    plain = logits_of(budget, monkeypatch)
    assert np.array_equal(logits_of(budget, monkeypatch, activation_checkpointing=True), plain)


def test_bfloat16_is_asked_for_and_taken_where_it_is_fast(monkeypatch):
    config = config_of(precision="bfloat16", steps=3)
    logits = {}
    for fast in (True, False):
        monkeypatch.setattr(module, "fast_bfloat16", lambda device, fast=fast: fast)
        assert fit(budget_of(6), config=config).precision == ("bfloat16" if fast else "float32")
        logits[fast] = logits_of(budget_of(6), monkeypatch, config=config)
    plain = logits_of(budget_of(6), monkeypatch, config=replace(config, precision="float32"))
    assert np.array_equal(logits[False], plain) and not np.array_equal(logits[True], plain)
