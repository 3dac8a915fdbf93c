"""Options that make a GPU faster do not change what is learned."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from training_case import SIZE, assert_same_training, blobs, records, small_config, train, weights

from ssl_sweep.data_ops.views.loader import ViewBatch
from ssl_sweep.ssl_core.training.checkpoint import load_checkpoint
from ssl_sweep.ssl_core.training.optim import LARS
from ssl_sweep.ssl_core.training.passes import GraphedPasses
from ssl_sweep.ssl_core.training.pending import DivergedError, PendingLosses
from ssl_sweep.ssl_core.training.reporter import LocalReporter
from ssl_sweep.ssl_core.training.trainer import Interrupted


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    train(folder, small_config(), loss_lag=0)
    return folder


@pytest.mark.parametrize("lag", [1, 2, 100])
def test_losses_that_are_read_later_are_the_same(straight, tmp_path, lag):
    train(tmp_path, small_config(), loss_lag=lag)
    assert_same_training(tmp_path, straight)


def test_a_checkpoint_has_the_losses_of_all_its_steps(straight, tmp_path):
    """Steps 4 and 5 are of one epoch; neither loss is old enough to be read when the checkpoint is saved."""

    class Stops(LocalReporter):
        def stop_requested(self) -> bool:
            return True

    options = {"checkpoint_every_steps": 5, "checkpoint_every_s": 1e6, "loss_lag": 9}
    train(tmp_path / "all", small_config(epochs=2), **options)
    kept = load_checkpoint(tmp_path / "all" / "checkpoint").progress
    assert kept.step == 5
    train(tmp_path / "none", small_config(epochs=2), **{**options, "loss_lag": 0})
    assert load_checkpoint(tmp_path / "none" / "checkpoint").progress.loss_sum == kept.loss_sum > 0
    with pytest.raises(Interrupted):
        train(tmp_path / "run", small_config(), reporter=Stops(tmp_path / "run"), loss_lag=9)
    train(tmp_path / "run", small_config(), loss_lag=9)
    assert_same_training(tmp_path / "run", straight)


def test_a_loss_that_is_not_finite_is_reported_with_its_own_step(tmp_path):
    config = small_config(learning_rate=1e38, warmup_epochs=0)
    said = []
    for lag in (0, 2, 50):
        with pytest.raises(DivergedError) as found:
            train(tmp_path / str(lag), config, loss_lag=lag)
        said.append(str(found.value))
        assert not (tmp_path / str(lag) / "checkpoint").exists()
    assert said[0] == said[1] == said[2]


def test_pending_losses_come_in_order_and_none_is_lost():
    def batch(step: int) -> ViewBatch:
        return ViewBatch(step, step // 4, (), np.zeros(0, np.int64))

    losses = PendingLosses(2)
    read = [losses.add(batch(step), 0.5, torch.tensor(float(step))) for step in range(5)]
    assert read == [[], [], [0.0], [1.0], [2.0]]
    assert losses.drain() == [3.0, 4.0] and losses.drain() == []
    losses.add(batch(7), 0.25, torch.tensor(float("nan")))
    losses.add(batch(8), 0.5, torch.tensor(1.0))
    with pytest.raises(DivergedError, match=r"loss is nan at step 7 \(epoch 1, learning rate 0.25\)"):
        losses.add(batch(9), 0.5, torch.tensor(1.0))


@pytest.mark.parametrize("method", ["simclr", "byol", "moco-v2", "supervised"])
def test_passes_over_fixed_inputs_train_the_same(tmp_path, method):
    """What a CUDA graph replays: the same tensors at every step, warm-up passes without a trace, and what the
    method keeps for ``after_step``."""
    config = small_config(method=method, epochs=2, grad_clip=1.0)
    train(tmp_path / "plain", config)
    train(tmp_path / "graph", config, cuda_graph=True)
    assert_same_training(tmp_path / "graph", tmp_path / "plain")


def test_a_graph_resumes_exactly(straight, tmp_path):
    class Stops(LocalReporter):
        def stop_requested(self) -> bool:
            return True

    with pytest.raises(Interrupted):
        train(tmp_path, small_config(), reporter=Stops(tmp_path), cuda_graph=True)
    train(tmp_path, small_config(), cuda_graph=True)
    assert_same_training(tmp_path, straight)


def test_a_method_that_draws_numbers_is_not_recorded(tmp_path):
    with pytest.raises(ValueError, match=r"'jigsaw' draws random numbers .* set cuda_graph to false"):
        train(tmp_path, small_config(method="jigsaw"), cuda_graph=True)
    with pytest.raises(ValueError, match="without activation_checkpointing"):
        train(tmp_path, small_config(), cuda_graph=True, activation_checkpointing=True)


def test_results_of_a_replay_stay_as_returned():
    model = torch.nn.Linear(3, 1)

    def passes(views, labels):
        from ssl_sweep.ssl_core.methods.base import StepOutput

        model.zero_grad(set_to_none=True)
        out = model(views[0])
        out.sum().backward()
        return StepOutput(out.sum(), out)

    graph = GraphedPasses(passes, model, "test")
    first = graph((torch.ones(2, 3),), None)
    loss, features = float(first.loss), first.features.clone()
    graph((torch.zeros(2, 3),), None)
    assert float(first.loss) == loss and torch.equal(first.features, features)


def test_the_memory_format_changes_only_the_rounding(tmp_path):
    config = small_config(optimizer="sgd", learning_rate=0.1, epochs=1)
    train(tmp_path / "last", config)
    train(tmp_path / "first", config, channels_last=False)
    ours, theirs = weights(tmp_path / "first"), weights(tmp_path / "last")
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-3, atol=1e-4)


def test_the_grouped_lars_equals_one_tensor_at_a_time():
    """Bit for bit: a list of tensors is only a shorter way to say the same."""
    torch.manual_seed(0)
    shapes = [(64, 3, 3, 3), (128, 64), (7, 5), (1, 1)]
    start, steps = [torch.randn(s) for s in shapes], [[torch.randn(s) for s in shapes] for _ in range(5)]
    together = [torch.nn.Parameter(w.clone()) for w in start]
    alone = [torch.nn.Parameter(w.clone()) for w in start]
    optimizers = [LARS(together, 0.7, weight_decay=0.01)] + [LARS([p], 0.7, weight_decay=0.01) for p in alone]
    for gradients in steps:
        for parameters in (together, alone):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(together, alone, strict=True))


def test_the_back_end_of_the_views_is_logged(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "ssl_sweep.ssl_core.training.trainer"):
        summary = train(tmp_path, small_config(epochs=1))
    assert "views: torch-exact on cpu" in caplog.text and summary.backend == "torch-exact"
    assert blobs(4).images.shape[1] == SIZE and len(records(tmp_path)) == 1
