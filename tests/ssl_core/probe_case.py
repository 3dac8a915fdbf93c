"""Features that the probes' tests share."""

from __future__ import annotations

import numpy as np

from ssl_sweep.ssl_core.config.probe import ProbeConfig
from ssl_sweep.ssl_core.evaluation.linear import ProbeFit, fit_linear_probe

CONFIG = ProbeConfig()
CLASSES, DIM = 7, 12


def features(n: int, seed: int, classes: int = CLASSES, spread: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Clusters on scales from 1e-3 to 1e3, so that standardising matters."""
    centres = np.random.default_rng(99).normal(size=(classes, DIM))
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    x = (centres[y] + spread * rng.normal(size=(n, DIM))) * np.logspace(-3, 3, DIM) + 5
    return x.astype(np.float32), y


def probe(x, y, x_test, **kwargs) -> ProbeFit:
    return fit_linear_probe(x, y, x_test, **{"n_classes": CLASSES, "seed": 0, "config": CONFIG, **kwargs})
