from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ssl_core.losses import nt_xent


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


@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.5, 1.0])
def test_equals_the_formula(temperature):
    rng = np.random.default_rng(1)
    z1, z2 = rng.normal(size=(2, 9, 6)) * 5
    found = nt_xent(torch.tensor(z1, dtype=torch.float32), torch.tensor(z2, dtype=torch.float32), temperature)
    assert float(found) == pytest.approx(written_out(z1, z2, temperature), rel=1e-5)


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
