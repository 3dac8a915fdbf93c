from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from training_case import (
    CURVES,
    SIZE,
    assert_same_training,
    blobs,
    calm_config,
    records,
    small_config,
    train,
    weights,
)

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.hashing import derive_seed
from ssl_sweep.data_ops.views.policy import ViewPolicy
from ssl_sweep.ssl_core.config.pretrain import default_config
from ssl_sweep.ssl_core.config.registry import trained_methods
from ssl_sweep.ssl_core.encoders.build import torch_seed
from ssl_sweep.ssl_core.methods import simclr
from ssl_sweep.ssl_core.methods.build import build_method
from ssl_sweep.ssl_core.training.checkpoint import load_checkpoint, save_checkpoint
from ssl_sweep.ssl_core.training.data import TrainingImages, schedule
from ssl_sweep.ssl_core.training.encoder_files import load_encoder
from ssl_sweep.ssl_core.training.reporter import LocalReporter
from ssl_sweep.ssl_core.training.trainer import DivergedError, Interrupted, RuntimeOptions, pretrain


class StopsAt(LocalReporter):
    """Asks to stop once it was asked `asked` times."""

    def __init__(self, workdir: Path, asked: int) -> None:
        super().__init__(workdir)
        self._left = asked

    def stop_requested(self) -> bool:
        self._left -= 1
        return self._left <= 0


@pytest.fixture
def look_every_step(monkeypatch):
    monkeypatch.setattr("ssl_sweep.ssl_core.training.checkpoint.LOOK_EVERY_S", 0.0)


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    """4 epochs of 3 steps without a stop."""
    folder = tmp_path_factory.mktemp("straight")
    before = torch.get_num_threads()
    train(folder, small_config())
    assert torch.get_num_threads() == before
    return folder


def test_loss_starts_at_the_log_of_the_candidates_and_falls(tmp_path):
    easy = ViewPolicy(size=SIZE, scale=(0.5, 1.0), jitter=0, grayscale=0, blur=0)
    config = small_config(epochs=20, views=easy, temperature=0.5, optimizer="lars", learning_rate=32.0)
    summary = train(tmp_path, config)
    losses = [epoch.loss for epoch in summary.epochs]
    assert losses[0] == pytest.approx(np.log(2 * 16 - 1), abs=0.6)
    assert losses[-1] < losses[0] - 0.3
    assert summary.loss == losses[-1] and summary.steps == 60 and summary.backend == "torch-exact"
    assert [epoch.epoch for epoch in summary.epochs] == list(range(20))
    assert summary.images_per_s > 0 and all(e.grad_norm > 0 and 0 < e.feature_std < 2 for e in summary.epochs)
    assert summary.epochs[-1].learning_rate < summary.epochs[3].learning_rate


def test_epoch_records_and_encoder_are_written(straight):
    logged = [json.loads(line) for line in (straight / "epochs.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in logged] == [0, 1, 2, 3]
    card = json.loads((straight / "encoder.json").read_text())
    assert card["training"]["images"] == 56 and card["training"]["loss"] == logged[-1]["loss"]
    assert not load_encoder(straight).training
    assert not (straight / "checkpoint-next").exists()


def test_same_seed_same_numbers_and_another_seed_others(straight, tmp_path):
    torch.manual_seed(77)
    np.random.seed(77)  # the global generators must not matter
    train(tmp_path / "same", small_config())
    assert_same_training(tmp_path / "same", straight)
    train(tmp_path / "other", small_config(seed=1))
    assert records(tmp_path / "other") != records(straight)


def test_the_callers_generator_is_left_alone(tmp_path):
    state = torch.random.get_rng_state()
    train(tmp_path, small_config(epochs=1))
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("optimizer", ["sgd", "lars"])
@pytest.mark.parametrize("asked", [2, 3, 6])
def test_resume_is_exact_also_within_an_epoch(straight, tmp_path, look_every_step, optimizer, asked):
    config = small_config(optimizer=optimizer)
    expected = straight
    if config != small_config():
        expected = tmp_path / "expected"
        train(expected, config)
    with pytest.raises(Interrupted):
        train(tmp_path / "run", config, reporter=StopsAt(tmp_path / "run", asked))
    step = load_checkpoint(tmp_path / "run" / "checkpoint").progress.step
    assert step == asked and not (tmp_path / "run" / "encoder.json").exists()
    train(tmp_path / "run", config)
    assert_same_training(tmp_path / "run", expected)


@pytest.mark.parametrize("method", trained_methods())
def test_every_method_resumes_exactly(tmp_path, look_every_step, method):
    """2 epochs and a step, then the rest, are 4 epochs: weights, queues and records, bit for bit."""
    config = small_config(method=method, grad_clip=1.0)
    every_step = {"checkpoint_every_steps": 1}  # the folder keeps the last one, with all of the state
    train(tmp_path / "straight", config, **every_step)
    for asked in (4, 3):  # at step 4, and at step 7
        with pytest.raises(Interrupted):
            train(tmp_path / "run", config, reporter=StopsAt(tmp_path / "run", asked))
    assert load_checkpoint(tmp_path / "run" / "checkpoint").progress.step == 7
    torch.manual_seed(99)
    train(tmp_path / "run", config, **every_step)
    assert_same_training(tmp_path / "run", tmp_path / "straight")
    ours, theirs = (load_checkpoint(tmp_path / name / "checkpoint").model for name in ("run", "straight"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_resuming_again_and_again_is_exact(straight, tmp_path, look_every_step):
    for _ in range(11):
        with pytest.raises(Interrupted):
            train(tmp_path, small_config(), reporter=StopsAt(tmp_path, 1))
    train(tmp_path, small_config())
    assert_same_training(tmp_path, straight)


def test_random_layers_resume_exactly(tmp_path, look_every_step, monkeypatch):
    """Dropout draws the same numbers whether a step comes in one go or after a resume."""
    plain = simclr.projection_head
    monkeypatch.setattr(
        simclr, "projection_head", lambda *a: torch.nn.Sequential(torch.nn.Dropout(0.5), plain(*a))
    )
    train(tmp_path / "straight", small_config())
    with pytest.raises(Interrupted):
        train(tmp_path / "run", small_config(), reporter=StopsAt(tmp_path / "run", 5))
    torch.manual_seed(99)
    train(tmp_path / "run", small_config())
    assert_same_training(tmp_path / "run", tmp_path / "straight")


def test_a_finished_training_is_only_exported_again(straight, tmp_path, look_every_step):
    first = train(tmp_path, small_config(), checkpoint_every_s=0.0)
    (tmp_path / "encoder.json").unlink()
    again = train(tmp_path, small_config())
    assert again == first
    assert_same_training(tmp_path, straight)


def test_checkpoints_follow_the_clock(tmp_path, look_every_step):
    class Counts(LocalReporter):
        steps: ClassVar[list[int]] = []

        def save(self, directory: Path, step: int) -> None:
            self.steps.append(step)
            super().save(directory, step)

    train(tmp_path, small_config(epochs=2), reporter=Counts(tmp_path), checkpoint_every_s=0.0)
    assert Counts.steps == [1, 2, 3, 4, 5, 6]
    Counts.steps.clear()
    train(
        tmp_path / "never",
        small_config(epochs=2),
        reporter=Counts(tmp_path / "never"),
        checkpoint_every_s=1e6,
    )
    assert Counts.steps == []


@pytest.mark.parametrize("change", [{"seed": 3}, {"learning_rate": 0.01}])
def test_the_checkpoint_of_another_training_is_refused(tmp_path, look_every_step, change):
    with pytest.raises(Interrupted):
        train(tmp_path, small_config(), reporter=StopsAt(tmp_path, 2))
    with pytest.raises(ValueError, match=f"checkpoint of another training \\(other {next(iter(change))}\\)"):
        train(tmp_path, small_config(**change))
    with pytest.raises(ValueError, match=r"another training \(other data\)"):
        train(tmp_path, small_config(), images=57)


def test_a_loss_that_is_not_finite_fails_at_once(tmp_path):
    config = small_config(learning_rate=1e38, warmup_epochs=0)
    with pytest.raises(DivergedError, match=r"step \d+ .*learning rate .*lower learning_rate"):
        train(tmp_path, config)
    assert not (tmp_path / "encoder.json").exists()


def test_input_that_does_not_fit(tmp_path):
    with pytest.raises(DataError, match="10 images are fewer than one batch of 16"):
        train(tmp_path, small_config(), images=10)
    with pytest.raises(ValueError, match=r"\(56, 16, 16, 3\), the training needs uint8 \(N, 32, 32, 3\)"):
        train(tmp_path, default_config("resnet-demo", 32, epochs=1, batch=16))
    with pytest.raises(ValueError, match="'random' is not trained"):
        train(tmp_path, small_config(method="random"))


def test_the_order_of_the_augmentation_follows_the_keys(tmp_path, straight):
    """Other keys, other views; so the keys are really used."""
    data = blobs(56)
    pretrain(
        small_config(),
        TrainingImages(data.images, data.keys + np.uint64(1)),
        tmp_path,
        LocalReporter(tmp_path),
        RuntimeOptions(threads=1),
    )
    assert records(tmp_path) != records(straight)


def test_steps_hold_the_length_whatever_the_images(tmp_path):
    """Trap 13: 7 steps are 2 epochs and a third on 56 images and 7 epochs on 16; the schedule is the same."""
    config = small_config(steps=7, epochs=4, warmup_epochs=2)
    long, short = train(tmp_path / "56", config), train(tmp_path / "16", config, images=16)
    assert long.steps == short.steps == 7
    assert [e.epoch for e in long.epochs] == [0, 1, 2] and len(short.epochs) == 7
    rate = [e.learning_rate for e in short.epochs]
    assert [e.learning_rate for e in long.epochs] == [rate[2], rate[5], rate[6]]
    peak = config.peak_learning_rate
    assert schedule(config, 3) == (7, 4) and rate[:5] == pytest.approx(
        [0, peak / 4, peak / 2, peak * 3 / 4, peak]
    )


def test_checkpoints_follow_the_steps(tmp_path):
    class Counts(LocalReporter):
        steps: ClassVar[list[int]] = []

        def save(self, directory: Path, step: int) -> None:
            self.steps.append(step)
            super().save(directory, step)

    reporter = Counts(tmp_path)
    train(tmp_path, small_config(), reporter=reporter, checkpoint_every_s=1e6, checkpoint_every_steps=5)
    assert Counts.steps == [5, 10]


def test_a_gradient_is_clipped_to_its_norm(tmp_path):
    """Under plain SGD the first update is rate * clipped gradient; the record has the norm before it."""
    config = small_config(
        optimizer="sgd", momentum=0.0, weight_decay=0.0, epochs=1, batch=56, warmup_epochs=0, grad_clip=0.01
    )
    free = train(tmp_path / "free", dataclasses.replace(config, grad_clip=0.0))
    clipped = train(tmp_path / "clipped", config)
    assert clipped.epochs[0].grad_norm == pytest.approx(free.epochs[0].grad_norm, rel=1e-5)
    assert free.epochs[0].grad_norm > 0.1
    ours, theirs = weights(tmp_path / "clipped"), weights(tmp_path / "free")
    name = "stem.0.weight"
    with torch_seed(derive_seed("initial-weights", 0)):
        start = build_method(config).encoder.state_dict()[name]
    share = 0.01 / free.epochs[0].grad_norm
    torch.testing.assert_close(ours[name] - start, (theirs[name] - start) * share, rtol=1e-2, atol=1e-7)


def test_labels_that_do_not_fit(tmp_path):
    data, config = blobs(56), small_config(method="supervised")
    for broken, message in (
        (dataclasses.replace(data, labels=None), "needs labels"),
        (dataclasses.replace(data, labels=data.labels[:-1]), r"labels are int64 \(55,\); use int64 \(56,\)"),
        (dataclasses.replace(data, n_classes=3), r"labels go from 0 to 3; use 0 to n_classes - 1 \(2\)"),
    ):
        with pytest.raises(ValueError, match=message):
            pretrain(config, broken, tmp_path, LocalReporter(tmp_path))
    with pytest.raises(ValueError, match="views2 is set, but supervised takes 1 view"):
        train(tmp_path, dataclasses.replace(config, views2=config.views))


def test_a_checkpoint_from_before_a_field_is_resumed(straight, tmp_path, look_every_step):
    with pytest.raises(Interrupted):
        train(tmp_path, small_config(), reporter=StopsAt(tmp_path, 3))
    old = load_checkpoint(tmp_path / "checkpoint")
    identity = {
        k: v for k, v in old.identity.items() if k not in ("queue", "grad_clip", "lars_form", "views2")
    }
    save_checkpoint(dataclasses.replace(old, identity=identity), tmp_path / "checkpoint")
    train(tmp_path, small_config())
    assert_same_training(tmp_path, straight)


def test_each_view_follows_its_own_policy(tmp_path):
    plain = small_config(epochs=1)
    train(tmp_path / "one", plain)
    train(tmp_path / "same", dataclasses.replace(plain, views2=plain.views))
    assert_same_training(tmp_path / "same", tmp_path / "one")
    train(tmp_path / "two", dataclasses.replace(plain, views2=ViewPolicy(size=SIZE, jitter=0.0)))
    assert records(tmp_path / "two") != records(tmp_path / "one")


def test_bfloat16_trains(tmp_path):
    summary = train(tmp_path, small_config(precision="bfloat16"))
    assert np.isfinite(summary.loss)
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in weights(tmp_path).values())


@pytest.mark.slow
def test_kill_9_then_resume_gives_the_same_encoder(tmp_path, start_script):
    epochs, folder = 60, tmp_path / "killed"
    process = start_script("training_case.py", folder, epochs)
    deadline = time.monotonic() + 100
    checkpoint = folder / "checkpoint" / "checkpoint.pt"
    try:
        while not (checkpoint.exists() and len(records(folder)) >= 3):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.kill()
        output = process.communicate()[0]
    assert process.returncode == -signal.SIGKILL, output
    assert not (folder / "encoder.json").exists()
    assert 0 < load_checkpoint(folder / "checkpoint").progress.step < epochs * 3
    train(folder, small_config(epochs=epochs))
    train(tmp_path / "straight", small_config(epochs=epochs))
    assert_same_training(folder, tmp_path / "straight")


@pytest.mark.slow
@pytest.mark.parametrize("method", CURVES)
def test_two_workers_of_half_the_batch_give_the_loss_curve_of_one(two_workers, tmp_path, method):
    train(tmp_path, calm_config(method=method), images=32)
    one, two = (
        [record["loss"] for record in records(folder)]
        for folder in (tmp_path, two_workers / f"curve-{method}")
    )
    assert len(one) == 20
    np.testing.assert_allclose(two, one, atol=1e-4, rtol=0)
    assert max(one) - min(one) > 0.04


@pytest.mark.slow
def test_one_worker_goes_on_where_two_stopped(two_workers, tmp_path):
    folder = tmp_path / "handed over"
    shutil.copytree(two_workers / "left", folder)
    assert 0 < len(records(folder)) < 20
    train(folder, calm_config(), images=32)
    two, then_one = (
        [record["loss"] for record in records(each)] for each in (two_workers / "curve-simclr", folder)
    )
    assert len(then_one) == 20
    np.testing.assert_allclose(then_one, two, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_two_workers_resume_exactly(two_workers):
    ours, theirs = weights(two_workers / "resumed"), weights(two_workers / "straight")
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    straight, resumed = (records(two_workers / name) for name in ("straight", "resumed"))
    for expected, found in zip(straight, resumed, strict=True):
        assert {k: v for k, v in found.items() if v is not None} == pytest.approx(
            {k: v for k, v in expected.items() if v is not None}, rel=1e-12
        )
