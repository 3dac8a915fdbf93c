from __future__ import annotations

import numpy as np
import pytest

from ssl_sweep.ssl_core.config.probe import KnnConfig
from ssl_sweep.ssl_core.evaluation import knn
from ssl_sweep.ssl_core.evaluation.fusion import FusedFeatures
from ssl_sweep.ssl_core.evaluation.knn import fit_knn

CLASSES = 9


def features(n: int, seed: int, width: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, n)
    centres = np.random.default_rng(7).normal(size=(CLASSES, width))
    return (centres[y] + rng.normal(size=(n, width))).astype(np.float32), y


def written_out(x, y, x_test, k, temperature):
    """Image by image, neighbour by neighbour, in Python's floats."""
    top5 = []
    for asked in x_test.astype(float):
        cosines = [
            float(asked @ row) / (np.linalg.norm(asked) * np.linalg.norm(row)) for row in x.astype(float)
        ]
        votes = dict.fromkeys(range(CLASSES), 0.0)
        for i in sorted(range(len(y)), key=lambda i: (-cosines[i], i))[:k]:
            votes[int(y[i])] += np.exp(cosines[i] / temperature)
        ranked = sorted((c for c in votes if votes[c] > 0), key=lambda c: (-votes[c], c))[:5]
        top5.append(ranked + [-1] * (5 - len(ranked)))
    return np.array(top5)


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (3, 0.07), (20, 0.1), (20, 0.01), (200, 1.0)])
def test_equals_the_votes_written_out_in_blocks_of_any_size(k, temperature, monkeypatch):
    (x, y), (x_test, y_test) = features(150, 0), features(60, 1)
    config = KnnConfig(k=k, temperature=temperature)
    fit = fit_knn(x, y, x_test, n_classes=CLASSES, config=config)
    np.testing.assert_array_equal(fit.top5, written_out(x, y, x_test, min(k, 150), temperature))
    assert fit.k == min(k, 150) and (fit.top5[:, 0] == y_test).mean() > 0.3
    monkeypatch.setattr(knn, "_SIMILARITIES", 7 * 150)
    again = fit_knn(x, y, x_test, n_classes=CLASSES, config=config)
    np.testing.assert_array_equal(again.top5, fit.top5)


def test_of_equally_similar_images_the_first_count():
    (x, y), (x_test, _) = features(3, 0), features(20, 1)
    copies = np.concatenate([x] * 40)
    labels = np.concatenate([y, (y + 1) % CLASSES, *[(y + 2) % CLASSES] * 38])
    fit = fit_knn(copies, labels, x_test, n_classes=CLASSES, config=KnnConfig(k=2))
    nearest = fit_knn(x, y, x_test, n_classes=CLASSES, config=KnnConfig(k=1)).top5[:, 0]
    assert (np.sort(fit.top5[:, :2], axis=1) == np.sort([nearest, (nearest + 1) % CLASSES], axis=0).T).all()
    assert (fit.top5[:, 2:] == -1).all()


def test_of_classes_with_equal_votes_the_lower_is_first():
    x = np.ones((4, 3), np.float32)
    fit = fit_knn(x, np.array([6, 2, 6, 2]), x[:1], n_classes=CLASSES, config=KnnConfig())
    assert fit.top5.tolist() == [[2, 6, -1, -1, -1]] and fit.missing_classes == (0, 1, 3, 4, 5, 7, 8)


def test_length_does_not_matter_even_at_the_ends_of_the_range():
    (x, y), (x_test, _) = features(80, 0), features(30, 1)
    plain = fit_knn(x, y, x_test, n_classes=CLASSES, config=KnnConfig(k=5))
    factors = np.logspace(-30, 30, 80, dtype=np.float32)[:, None]
    scaled = fit_knn(x * factors, y, x_test * np.float32(1e-30), n_classes=CLASSES, config=KnnConfig(k=5))
    np.testing.assert_array_equal(scaled.top5, plain.top5)


def test_each_encoder_counts_alike_in_a_fusion():
    """The similarity is the mean of the encoders', whatever their scales and widths."""
    (x, y), (x_test, _) = features(80, 0), features(30, 1)
    (more, _), (more_test, _) = features(80, 2, width=11), features(30, 3, width=11)
    rows = np.arange(5, 75)
    fit = fit_knn(
        FusedFeatures([x, more * 1000]),
        y[rows],
        FusedFeatures([x_test, more_test * 10]),
        n_classes=CLASSES,
        config=KnnConfig(k=7),
        rows=rows,
    )

    def unit(a):
        return a / np.linalg.norm(a, axis=1, keepdims=True)

    joined, joined_test = np.hstack([unit(x), unit(more)]), np.hstack([unit(x_test), unit(more_test)])
    np.testing.assert_array_equal(fit.top5, written_out(joined[rows], y[rows], joined_test, 7, 0.1))


def test_images_without_features_and_budgets_of_one():
    (x, y), _ = features(10, 0), None
    fit = fit_knn(np.zeros_like(x), y, x[:1], n_classes=CLASSES, config=KnnConfig(k=1))
    assert fit.top5[0, 0] == y[0]
    assert (fit_knn(x[:1], y[:1], x, n_classes=CLASSES, config=KnnConfig()).top5[:, 0] == y[0]).all()


@pytest.mark.parametrize("which", ["training", "test"])
def test_features_that_are_not_finite(which):
    (x, y), (x_test, _) = features(10, 0), features(5, 1)
    (x if which == "training" else x_test)[2, 1] = np.nan
    with pytest.raises(ValueError, match=f"the {which} features hold NaN"):
        fit_knn(x, y, x_test, n_classes=CLASSES, config=KnnConfig())


@pytest.mark.parametrize("change", [{"k": 0}, {"temperature": 0.0}, {"temperature": 1e-4}])
def test_values_out_of_range(change):
    with pytest.raises(ValueError, match=f"{next(iter(change))} is "):
        KnnConfig(**change)
