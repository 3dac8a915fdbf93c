from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from ssl_sweep.ssl_core.config.pretrain import default_config
from ssl_sweep.ssl_core.methods.simclr import SimCLR
from ssl_sweep.ssl_core.training.optim import LARS, build_optimizer, learning_rate_at


class WrittenOutLars:
    """google-research/simclr, lars_optimizer.py, per tensor in float64."""

    def __init__(self, w: np.ndarray, decay: float, excluded: bool) -> None:
        self.w, self.decay, self.excluded = w.astype(np.float64), decay, excluded
        self.v = np.zeros_like(self.w)

    def step(self, g: np.ndarray, rate: float) -> None:
        g = g.astype(np.float64)
        trust = 1.0
        if not self.excluded:
            g = g + self.decay * self.w
            w_norm, g_norm = np.linalg.norm(self.w), np.linalg.norm(g)
            if w_norm > 0 and g_norm > 0:
                trust = 0.001 * w_norm / g_norm
        self.v = 0.9 * self.v + rate * trust * g
        self.w = self.w - self.v


@pytest.mark.smoke
def test_lars_equals_the_official_update_over_changing_rates():
    rng = np.random.default_rng(0)
    shapes = [(4, 3), (2, 3, 3, 3), (5, 5), (3, 2), (7,), (6,)]
    start = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    start[2][:] = 0  # a norm of 0: trust 1
    params = [torch.nn.Parameter(torch.tensor(w)) for w in start]
    expected = [WrittenOutLars(w, 0.01, excluded=w.ndim == 1) for w in start]
    optimizer = LARS(
        [
            {"params": params[:4], "weight_decay": 0.01},
            {"params": params[4:], "weight_decay": 0.0, "adapt": False},
        ]
    )
    for step, rate in enumerate([0.0, 2.5, 5.0, 3.0, 0.7, 0.2]):
        for group in optimizer.param_groups:
            group["lr"] = rate
        for i, (parameter, reference) in enumerate(zip(params, expected, strict=True)):
            gradient = rng.normal(size=parameter.shape).astype(np.float32)
            if i == 3 and step == 2:
                gradient = (-0.01 * parameter.detach().numpy()).astype(
                    np.float32
                )  # cancels the decay: |g| near 0
            parameter.grad = torch.tensor(gradient)
            if i == 3 and step == 2:
                parameter.grad = None  # left alone, its momentum too
            else:
                reference.step(gradient, rate)
        optimizer.step()
        for parameter, reference in zip(params, expected, strict=True):
            np.testing.assert_allclose(parameter.detach().numpy(), reference.w, rtol=2e-5, atol=1e-6)


def test_lars_of_the_paper_divides_by_the_sum_of_norms():
    """You et al. 2017, algorithm 1: five steps in float64, one tensor adapted and decayed, one neither."""
    rng = np.random.default_rng(3)
    start = [rng.normal(size=(4, 3)), rng.normal(size=(5,))]
    params = [nn.Parameter(torch.tensor(w, dtype=torch.float32)) for w in start]
    optimizer = LARS(
        [
            {"params": params[:1], "weight_decay": 0.3},
            {"params": params[1:], "weight_decay": 0.0, "adapt": False},
        ],
        form="you2017",
    )
    velocity = [np.zeros_like(w) for w in start]
    for rate in (0.0, 2.0, 4.0, 3.0, 1.0):
        for group in optimizer.param_groups:
            group["lr"] = rate
        gradients = [rng.normal(size=w.shape) for w in start]
        for parameter, gradient in zip(params, gradients, strict=True):
            parameter.grad = torch.tensor(gradient, dtype=torch.float32)
        optimizer.step()
        w, g = start[0], gradients[0]
        trust = 0.001 * np.linalg.norm(w) / (np.linalg.norm(g) + 0.3 * np.linalg.norm(w))
        for i, update in enumerate((trust * (g + 0.3 * w), gradients[1])):
            velocity[i] = 0.9 * velocity[i] + rate * update
            start[i] = start[i] - velocity[i]
        for parameter, expected in zip(params, start, strict=True):
            np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    official = LARS([nn.Parameter(torch.ones(2, 2))], weight_decay=0.3)
    assert official.param_groups[0]["form"] == "official"


def test_optimisers_take_the_configs_momentum_and_form():
    model = SimCLR(default_config("resnet-demo", 32))
    sgd = build_optimizer(model, default_config("resnet-demo", 32, optimizer="sgd", momentum=0.5))
    adam = build_optimizer(model, default_config("resnet-demo", 32, optimizer="adamw", momentum=0.5))
    lars = build_optimizer(model, default_config("resnet-demo", 32, momentum=0.5, lars_form="you2017"))
    assert sgd.param_groups[0]["momentum"] == 0.5 == adam.param_groups[0]["betas"][0]
    assert lars.param_groups[0]["momentum"] == 0.5 and lars.param_groups[0]["form"] == "you2017"


@pytest.mark.smoke
def test_lars_trust_is_1_for_a_zero_gradient_without_decay():
    parameter = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = LARS([parameter], lr=1.0)
    parameter.grad = torch.zeros(2, 2)
    optimizer.step()
    assert torch.equal(parameter.detach(), torch.ones(2, 2))


def test_lars_without_decay_still_adapts():
    """Trap 9: in some ports a decay of 0 silently turns LARS into SGD."""
    model = nn.Linear(3, 2)
    start = model.weight.detach().clone()
    config = default_config("resnet-demo", 32, weight_decay=0.0)
    optimizer = build_optimizer(model, config)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    gradient = torch.ones(2, 3)
    trust = 0.001 * start.norm() / gradient.norm()
    torch.testing.assert_close(model.weight.detach(), start - config.peak_learning_rate * trust * gradient)


def test_lars_goes_on_from_its_state_dict():
    rng = np.random.default_rng(1)
    gradients = [torch.tensor(rng.normal(size=(3, 4)).astype(np.float32)) for _ in range(4)]

    def steps(parameter: nn.Parameter, optimizer: LARS, some: list[torch.Tensor]) -> None:
        for gradient in some:
            parameter.grad = gradient.clone()
            optimizer.step()

    straight = nn.Parameter(torch.ones(3, 4))
    steps(straight, LARS([straight], lr=3.0, weight_decay=0.1), gradients)
    first = nn.Parameter(torch.ones(3, 4))
    optimizer = LARS([first], lr=3.0, weight_decay=0.1)
    steps(first, optimizer, gradients[:2])
    second = nn.Parameter(first.detach().clone())
    resumed = LARS([second], lr=1.0)
    resumed.load_state_dict(optimizer.state_dict())
    steps(second, resumed, gradients[2:])
    assert torch.equal(second, straight)


@pytest.mark.parametrize("name", ["lars", "sgd", "adamw"])
def test_biases_and_norms_have_no_decay(name):
    model = SimCLR(default_config("resnet-demo", 32, optimizer=name, weight_decay=0.5))
    optimizer = build_optimizer(model, default_config("resnet-demo", 32, optimizer=name, weight_decay=0.5))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    adapt = {id(p): group.get("adapt", True) for group in optimizer.param_groups for p in group["params"]}
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        assert decay[id(norm.weight)] == 0
        assert name != "lars" or adapt[id(norm.weight)] is False
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert decay[id(layer.weight)] == 0.5 and adapt[id(layer.weight)] is True
    assert len(decay) == sum(p.requires_grad for p in model.parameters()), "every trained parameter once"


@pytest.mark.parametrize(("warmup", "total"), [(0, 7), (1, 2), (5, 40), (10, 1000)])
def test_learning_rate_of_every_step(warmup, total):
    for step in range(total):
        if step < warmup:
            expected = 3.0 * step / warmup
        else:
            expected = 3.0 * (math.cos(math.pi * (step - warmup) / (total - warmup)) + 1) / 2
        found = learning_rate_at(step, total_steps=total, warmup_steps=warmup, peak=3.0)
        assert found == pytest.approx(expected, abs=1e-12)
    assert learning_rate_at(warmup, total_steps=total, warmup_steps=warmup, peak=3.0) == 3.0


def test_rates_scale_with_the_batch():
    linear = default_config("resnet18", 32, learning_rate=0.3, lr_scaling="linear", batch=4096)
    root = default_config("resnet18", 32, learning_rate=0.075, lr_scaling="sqrt", batch=4096)
    assert linear.peak_learning_rate == pytest.approx(4.8) == root.peak_learning_rate
    assert default_config("resnet50", 224).peak_learning_rate == pytest.approx(4.8)
    assert default_config("resnet18", 32).peak_learning_rate == pytest.approx(2.0)
