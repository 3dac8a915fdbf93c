"""Evaluation by nearest neighbours: nothing is fitted, so it shows how the features lie in space."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssl_sweep.ssl_core.config.probe import KnnConfig
from ssl_sweep.ssl_core.evaluation.fusion import (
    Features,
    Floats,
    FusedFeatures,
    Ints,
    check_features,
    check_labels,
    check_shapes,
    missing_classes,
    read,
)
from ssl_sweep.ssl_core.evaluation.metrics import TOP, rank_classes

_SIMILARITIES = 2 * 2**20
"""Size of a block of similarities: test images times labelled images."""


@dataclass(frozen=True, kw_only=True)
class KnnFit:
    """Result of an evaluation by nearest neighbours."""

    top5: Ints
    """(n_test, 5): class ids by votes, best first, -1 beyond the classes of the neighbours."""
    k: int
    """Neighbours that voted: at most the label budget."""
    missing_classes: tuple[int, ...]
    """Classes without a label."""
    seconds: float


def fit_knn(
    x_train: Features,
    y_train: npt.NDArray[np.integer],
    x_test: Features,
    *,
    n_classes: int,
    config: KnnConfig,
    rows: Ints | None = None,
) -> KnnFit:
    """Rank the classes of test images by weighted votes of the nearest labelled images (Wu et al. 2018,
    section 3.4).

    Features are scaled to length 1, neither centred nor standardised, separately for each encoder. A feature
    of zeros has similarity 0 to all images. Among equally similar images the first are taken; among
    classes with equal votes the lower id is first.

    Args:
        x_train: Features (N, d).
        y_train: Labels (n,) of the labelled images.
        x_test: Features (n_test, d).
        n_classes: Number of classes.
        config: k and temperature.
        rows: The labelled images (n,) in x_train; None: all.

    Raises:
        ValueError: Features are not finite, shapes do not fit, or labels or rows are out of range.
    """
    started = time.perf_counter()
    y = np.asarray(y_train)
    check_shapes(x_train, x_test)
    check_labels(x_train, rows, y, n_classes)
    check_features("training", x_train, rows)
    check_features("test", x_test)
    known = np.empty((len(y), x_train.shape[1]), np.float32)
    for part, values in read(x_train, rows):
        known[part] = unit_rows(values, x_train)
    classes, codes = np.unique(y, return_inverse=True)
    k = min(config.k, len(y))
    top5 = np.empty((len(x_test), TOP), dtype=np.int64)
    step = max(1, _SIMILARITIES // len(y))
    for part, values in read(x_test):
        asked = unit_rows(values, x_test)
        for start in range(0, len(asked), step):
            similar = asked[start : start + step] @ known.T
            votes = _votes(similar, codes, k, config.temperature, len(classes))
            ranked, best = rank_classes(votes, classes), -np.sort(-votes, axis=1)[:, :TOP]
            ranked[:, : best.shape[1]][best == 0] = -1
            top5[part][start : start + step] = ranked
    return KnnFit(
        top5=top5, k=k, missing_classes=missing_classes(y, n_classes), seconds=time.perf_counter() - started
    )


def unit_rows(values: Floats, source: Features) -> npt.NDArray[np.float32]:
    """Rows (n, d) scaled to length 1; rows of zeros stay 0.

    In fused features, each encoder's part is scaled to length 1 over the root of the number of encoders: the
    similarity of two images is then the mean of the encoders' similarities.
    """
    widths = source.widths if isinstance(source, FusedFeatures) else (source.shape[1],)
    unit = values.astype(np.float64)
    for block in np.split(unit, np.cumsum(widths)[:-1], axis=1):
        largest = np.abs(block).max(axis=1, keepdims=True, initial=0)
        block /= np.where(largest > 0, largest, 1)  # first, so that squares neither overflow nor underflow
        length = np.linalg.norm(block, axis=1, keepdims=True)
        block /= np.where(length > 0, length, 1) * np.sqrt(len(widths))
    return unit.astype(np.float32)


def _votes(
    similar: npt.NDArray[np.float32], codes: Ints, k: int, temperature: float, n_classes: int
) -> npt.NDArray[np.float64]:
    """Votes (n, n_classes) of the k labelled images that are most similar, by ``similar`` (n, labelled)."""
    n, labelled = similar.shape
    kth = np.partition(similar, labelled - k, axis=1)[:, labelled - k]
    taken = similar >= kth[:, None]
    for image in np.flatnonzero(taken.sum(axis=1) > k):
        equal = np.flatnonzero(similar[image] == kth[image])
        taken[image, equal[k - taken[image].sum() :]] = False  # the last of those that are equally similar
    images, neighbours = np.nonzero(taken)
    # relative to the highest similarity, 1, so that exp cannot overflow
    weights = np.exp((similar[taken].astype(np.float64) - 1) / temperature)
    votes = np.bincount(images * n_classes + codes[neighbours], weights, minlength=n * n_classes)
    return votes.astype(np.float64).reshape(n, n_classes)
