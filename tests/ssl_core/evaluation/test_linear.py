from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from probe_case import CLASSES, CONFIG, DIM, features, probe
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ssl_sweep.ssl_core.config.probe import ProbeConfig
from ssl_sweep.ssl_core.evaluation import linear
from ssl_sweep.ssl_core.evaluation.fusion import FusedFeatures
from ssl_sweep.ssl_core.evaluation.linear import LinearProbes
from ssl_sweep.ssl_core.evaluation.logistic import LogisticFit, column_statistics, standardised


def test_predictions_are_a_plain_pipelines():
    (x, y), (x_test, _) = features(400, 0), features(300, 1)
    fit = probe(x, y, x_test)
    plain = make_pipeline(StandardScaler(), LogisticRegression(C=fit.C, tol=CONFIG.tol, max_iter=1000))
    plain.fit(x.astype(np.float64), y)
    ranked = np.argsort(-plain.decision_function(x_test.astype(np.float64)), axis=1)[:, :5]
    assert fit.converged and fit.n_iter > 0 and fit.missing_classes == ()
    np.testing.assert_array_equal(fit.top5, ranked)


def test_nothing_outside_the_budget_is_looked_at():
    """Other test features change predictions of those rows only; C, scaler and fit stay."""
    (x, y), (x_test, _) = features(200, 0), features(50, 1)
    fit = probe(x, y, x_test)
    changed = x_test.copy()
    changed[25:] = 1e6
    again = probe(x, y, changed)
    assert (again.C, again.n_iter) == (fit.C, fit.n_iter)
    np.testing.assert_array_equal(again.top5[:25], fit.top5[:25])


def test_a_fit_that_does_not_converge_is_reported():
    x, y = features(300, 0)
    fit = probe(x, y, x, config=ProbeConfig(max_iter=2))
    assert not fit.converged


def test_memory_mapped_features(tmp_path):
    x, y = features(100, 0)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(probe(mapped, y, mapped).top5, probe(x, y, x).top5)


def test_equals_a_minimum_of_the_objective_written_out():
    """Penalty ½‖W‖² and C times the sum of the losses, the intercept free, by SciPy in float64."""
    x, y = features(90, 3, spread=3.0)
    z = (x - x.mean(axis=0, dtype=np.float64)) / x.std(axis=0, dtype=np.float64)
    c = 0.05

    def written_out(flat):
        weights, intercept = flat[: CLASSES * DIM].reshape(CLASSES, DIM), flat[CLASSES * DIM :]
        scores = z @ weights.T + intercept
        top = scores.max(axis=1)
        sums = np.exp(scores - top[:, None]).sum(axis=1)
        loss = (top + np.log(sums) - scores[np.arange(len(y)), y]).sum()
        pull = np.exp(scores - top[:, None]) / sums[:, None] - np.eye(CLASSES)[y]
        gradient = np.concatenate([(c * pull.T @ z + weights).ravel(), c * pull.sum(axis=0)])
        return c * loss + (weights**2).sum() / 2, gradient

    start = np.random.default_rng(0).normal(size=CLASSES * (DIM + 1))
    exact = minimize(written_out, start, jac=True, method="BFGS", options={"gtol": 1e-8, "maxiter": 5000})
    fit = LogisticFit(standardised(x, None), y, ProbeConfig(tol=1e-8, max_iter=5000))
    assert fit.fit(c)
    weights, intercept = fit.weights()
    found = x.astype(np.float64) @ weights.T + intercept
    expected = z @ exact.x[: CLASSES * DIM].reshape(CLASSES, DIM).T + exact.x[CLASSES * DIM :]
    # the intercepts' mean is free: softmax does not see it
    found -= found.mean(axis=1, keepdims=True)
    expected -= expected.mean(axis=1, keepdims=True)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(found, expected, atol=1e-5)


def weights_of(monkeypatch, x, y, x_test, rows=None):
    """A probe and the weights it judged the test images with."""
    used = []
    scores = linear.linear_scores

    def recorded(part, weights):
        used.append(weights)
        return scores(part, weights)

    monkeypatch.setattr(linear, "linear_scores", recorded)
    fit = LinearProbes(x, x_test).fit(rows, y, n_classes=CLASSES, seed=0, config=CONFIG)
    monkeypatch.setattr(linear, "linear_scores", scores)
    return fit, used[0]


def test_poisoned_test_images_change_no_choice_and_no_weight(monkeypatch):
    (x, y), (x_test, _) = features(200, 0), features(50, 1)
    fit, weights = weights_of(monkeypatch, x, y, x_test)
    rng = np.random.default_rng(5)
    for poison in (1e30 * rng.normal(size=x_test.shape), np.zeros_like(x_test), x[:50]):
        again, others = weights_of(monkeypatch, x, y, poison)
        assert (again.C, again.n_iter, again.converged) == (fit.C, fit.n_iter, fit.converged)
        np.testing.assert_array_equal(others[0], weights[0])
        np.testing.assert_array_equal(others[1], weights[1])


def test_training_images_outside_the_budget_are_never_read(monkeypatch):
    (x, y), (x_test, _) = features(200, 0), features(50, 1)
    rows = np.arange(3, 150, 2)
    fit, weights = weights_of(monkeypatch, x[rows], y[rows], x_test)
    poisoned = np.full_like(x, np.nan)
    poisoned[rows] = x[rows]
    again, others = weights_of(monkeypatch, poisoned, y[rows], x_test, rows)
    assert again.C == fit.C
    np.testing.assert_array_equal(others[0], weights[0])


def test_no_probe_depends_on_those_before():
    """After a kill the rest is asked of a new object, in another order perhaps."""
    (x, y), (x_test, _) = features(300, 0), features(50, 1)
    budgets = [np.arange(n) for n in (150, 20, 80)]

    def ask(probes, rows):
        return probes.fit(rows, y[rows], n_classes=CLASSES, seed=1, config=CONFIG)

    shared = LinearProbes(x, x_test)
    together = [ask(shared, rows) for rows in budgets]
    for rows, fit in reversed(list(zip(budgets, together, strict=True))):
        alone = ask(LinearProbes(x, x_test), rows)
        assert (alone.C, alone.n_iter) == (fit.C, fit.n_iter)
        np.testing.assert_array_equal(alone.top5, fit.top5)


def test_column_statistics_are_the_standard_scalers_to_the_bit(monkeypatch):
    x, _ = features(5000, 0)
    x = np.hstack([x] * 8 + [np.full((5000, 3), 0.1, np.float32)])
    rows = np.flatnonzero(np.arange(5000) % 3)
    monkeypatch.setattr("ssl_sweep.ssl_core.evaluation.logistic._BLOCK_BYTES", 8 * 5000 * 20)
    for chosen in (None, rows):
        plain = StandardScaler().fit((x if chosen is None else x[chosen]).astype(np.float64))
        mean, scale = column_statistics(x, chosen)
        np.testing.assert_array_equal(mean, plain.mean_)
        np.testing.assert_array_equal(scale, plain.scale_)


def test_fused_features_are_the_concatenated_ones(tmp_path):
    (x, y), (x_test, _) = features(150, 0), features(40, 1)
    (more, _), (more_test, _) = features(150, 2), features(40, 3)
    for name, array in (("x", x), ("more", more)):
        np.save(tmp_path / f"{name}.npy", array)
    fused = FusedFeatures([np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("x", "more")])
    assert fused.shape == (150, 2 * DIM) and len(fused) == 150
    rows = np.arange(0, 150, 2)
    fit = LinearProbes(fused, FusedFeatures([x_test, more_test])).fit(
        rows, y[rows], n_classes=CLASSES, seed=0, config=CONFIG
    )
    joined = probe(np.hstack([x, more])[rows], y[rows], np.hstack([x_test, more_test]))
    np.testing.assert_array_equal(fit.top5, joined.top5)
    assert fit.C == joined.C
    with pytest.raises(ValueError, match="of the same n images"):
        FusedFeatures([x, x_test])


def test_peak_memory_is_below_two_matrices_of_the_budget(tmp_path, monkeypatch):
    """In float64, as they are fitted. Here smaller ones, so smaller parts are read at once."""
    monkeypatch.setattr("ssl_sweep.ssl_core.evaluation.fusion._CHUNK_BYTES", 2**18)
    monkeypatch.setattr("ssl_sweep.ssl_core.evaluation.logistic._BLOCK_BYTES", 2**18)
    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, 6_000)
    np.save(tmp_path / "x.npy", rng.normal(size=(6_000, 256)).astype(np.float32))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    config = ProbeConfig(max_iter=2)
    tracemalloc.start()
    try:
        LinearProbes(x, x[:100]).fit(np.arange(6_000), y, n_classes=5, seed=0, config=config)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * 8 * 6_000 * 256


ON_TORCH = """
import numpy as np
from probe_case import CLASSES, CONFIG, features, probe
from ssl_sweep.ssl_core.config.probe import ProbeConfig
config = ProbeConfig(cs=(0.01, 0.1))
for classes in (CLASSES, 2):
    (x, y), (x_test, _) = features(90, 0, classes=classes), features(60, 1, classes=classes)
    plain, torchs = (probe(x, y, x_test, device=device, config=config) for device in ("cpu", "cpu:0"))
    assert torchs.C == plain.C and torchs.converged, (torchs, plain)
    assert (torchs.top5 == plain.top5).mean() > 0.99
    from ssl_sweep.ssl_core.evaluation.logistic import LogisticFit, standardised
    fits = [LogisticFit(standardised(x, None), y, CONFIG, device=device) for device in ("cpu", "cpu:0")]
    assert type(fits[1]._x).__name__ == "Tensor"
    for fit in fits:
        fit.fit(0.1)
    for a, b in zip(fits[0].weights(), fits[1].weights()):
        assert np.abs(a).max() > 0
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-3 * np.abs(a).max())
print("same")
"""


def test_the_same_estimator_on_torch_tensors(monkeypatch):
    here = Path(__file__).parents[1]
    paths = os.pathsep.join(map(str, (here, here.parents[1])))
    environment = os.environ | {"SCIPY_ARRAY_API": "1", "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ON_TORCH], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.stdout == "same\n", done.stderr
    monkeypatch.delenv("SCIPY_ARRAY_API", raising=False)
    x, y = features(20, 0)
    with pytest.raises(ValueError, match="SCIPY_ARRAY_API"):
        probe(x, y, x, device="cuda")
