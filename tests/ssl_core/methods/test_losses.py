from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ssl_sweep.ssl_core.methods.losses import byol_loss, moco_loss, nt_xent


def written_out(z1: np.ndarray, z2: np.ndarray, temperature: float) -> float:
    """Equation 1 of the paper in float64, one anchor after the other."""
    views = [z / math.sqrt(sum(z * z)) for z in np.concatenate([z1, z2]).astype(np.float64)]
    n = len(z1)
    losses = []
    for i, anchor in enumerate(views):
        similar = {
            k: math.exp(float(anchor @ other) / temperature) for k, other in enumerate(views) if k != i
        }
        losses.append(-math.log(similar[(i + n) % (2 * n)] / sum(similar.values())))
    return sum(losses) / (2 * n)


@pytest.mark.smoke
@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.5, 1.0])
def test_equals_the_formula(temperature):
    rng = np.random.default_rng(1)
    z1, z2 = rng.normal(size=(2, 9, 6)) * 5
    found = nt_xent(torch.tensor(z1, dtype=torch.float32), torch.tensor(z2, dtype=torch.float32), temperature)
    assert float(found) == pytest.approx(written_out(z1, z2, temperature), rel=1e-5)


@pytest.mark.smoke
def test_gradient_is_the_formulas():
    rng = np.random.default_rng(2)
    z1, z2 = rng.normal(size=(2, 4, 3))
    t1, t2 = (torch.tensor(z, dtype=torch.float32, requires_grad=True) for z in (z1, z2))
    nt_xent(t1, t2, 0.3).backward()
    step = 1e-6
    for z, gradient in ((z1, t1.grad), (z2, t2.grad)):
        for at in np.ndindex(z.shape):
            before, slopes = z[at], []
            for sign in (1, -1):
                z[at] = before + sign * step
                slopes.append(sign * written_out(z1, z2, 0.3))
            z[at] = before
            assert float(gradient[at]) == pytest.approx(sum(slopes) / (2 * step), abs=1e-5)


def test_unrelated_projections_cost_the_log_of_the_candidates():
    """Trap 3: at the start the loss is about ln(2N - 1); it is exactly that where all projections are
    equal."""
    z = torch.ones(32, 8)
    assert float(nt_xent(z, z, 0.2)) == pytest.approx(math.log(63), abs=1e-5)


def test_perfect_pairs_cost_almost_nothing():
    z = torch.eye(16)
    assert float(nt_xent(z, z, 0.05)) < 1e-6
    assert float(nt_xent(z, z.roll(1, 0), 0.05)) > 5  # the partner is the one with the same index


def test_small_temperatures_and_half_precision_stay_exact():
    """Trap 5: exp(1 / 0.01) does not fit into half precision, and a rounded similarity would move the
    loss."""
    rng = np.random.default_rng(3)
    z1 = rng.normal(size=(8, 5)).astype(np.float32)
    z2 = (z1 + 0.1 * rng.normal(size=(8, 5))).astype(np.float32)
    expected = written_out(z1, z2, 0.01)
    with torch.autocast("cpu", torch.bfloat16):
        found = nt_xent(torch.tensor(z1), torch.tensor(z2), 0.01)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_the_loss_of_parts_of_a_batch_is_another():
    """Trap 6: why there is no gradient accumulation."""
    z1, z2 = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(0))
    parts = [float(nt_xent(z1[part], z2[part], 0.5)) for part in (slice(4), slice(4, 8))]
    assert float(nt_xent(z1, z2, 0.5)) > sum(parts) / 2 + 0.3


def unit(v: np.ndarray) -> np.ndarray:
    return v / math.sqrt(sum(x * x for x in v))


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
def test_moco_equals_the_formula(temperature):
    """He et al. 2020, eq. 1, in float64, one query after the other."""
    rng = np.random.default_rng(4)
    q, k = rng.normal(size=(2, 5, 6)) * 3
    queue = np.stack([unit(row) for row in rng.normal(size=(7, 6))])
    losses = []
    for query, key in zip(q, k, strict=True):
        positive = math.exp(sum(a * b for a, b in zip(unit(query), unit(key), strict=True)) / temperature)
        negatives = [
            math.exp(sum(a * b for a, b in zip(unit(query), old, strict=True)) / temperature) for old in queue
        ]
        losses.append(-math.log(positive / (positive + sum(negatives))))
    found = moco_loss(*(torch.tensor(x, dtype=torch.float32) for x in (q, k, queue)), temperature)
    assert float(found) == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_byol_equals_the_formula():
    """Grill et al. 2020, eq. 2, in float64: the squared distance of the normalised vectors."""
    rng = np.random.default_rng(5)
    p, z = rng.normal(size=(2, 6, 4)) * 3
    losses = [
        sum((a - b) ** 2 for a, b in zip(unit(one), unit(other), strict=True))
        for one, other in zip(p, z, strict=True)
    ]
    found = byol_loss(torch.tensor(p, dtype=torch.float32), torch.tensor(z, dtype=torch.float32))
    assert float(found) == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_only_queries_and_predictions_learn():
    one, other, queue = (torch.randn(4, 3, requires_grad=True) for _ in range(3))
    moco_loss(one, other, queue, 0.2).backward()
    assert one.grad is not None and other.grad is None and queue.grad is None
    one.grad = None
    byol_loss(one, other).backward()
    assert one.grad is not None and other.grad is None


def test_the_other_losses_too_are_float32_under_autocast():
    one, other, queue = (torch.randn(4, 3) for _ in range(3))
    with torch.autocast("cpu", torch.bfloat16):
        found = moco_loss(one, other, queue, 0.05), byol_loss(one, other)
    for value, expected in zip(
        found, (moco_loss(one, other, queue, 0.05), byol_loss(one, other)), strict=True
    ):
        assert value.dtype == torch.float32 and torch.equal(value, expected)
