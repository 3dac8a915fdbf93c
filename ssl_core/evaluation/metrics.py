"""Scores of ranked predictions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
TOP = 5
"""How many classes are kept per test image."""


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Shares in [0, 1]. `top1_std_err` is the binomial standard error of top-1 over the test images;
    balanced accuracy is the mean recall over the classes that occur in the test set."""

    top1: float
    top1_std_err: float
    top5: float
    balanced_accuracy: float
    n_test: int


def score(y_true: npt.NDArray[np.integer], top5: npt.NDArray[np.integer], n_classes: int) -> Metrics:
    """Compare labels (n,) with ranked class ids (n, 5), best first, -1 where there is none.

    ValueError where the two do not fit together or a label is outside 0 … n_classes - 1.
    """
    if len(y_true) == 0 or top5.ndim != 2 or len(top5) != len(y_true):
        raise ValueError(
            f"{len(y_true)} labels and predictions of shape {top5.shape}; give (n,) and (n, 5), n > 0"
        )
    if y_true.min() < 0 or y_true.max() >= n_classes or top5.max() >= n_classes:
        raise ValueError(f"a label or prediction is outside 0 to {n_classes - 1}")
    hits = top5 == y_true[:, None]
    top1 = float(hits[:, 0].mean())
    per_class = np.bincount(y_true, minlength=n_classes)
    recalled = np.bincount(y_true[hits[:, 0]], minlength=n_classes)
    present = per_class > 0
    return Metrics(
        top1=top1,
        top1_std_err=math.sqrt(top1 * (1 - top1) / len(y_true)),
        top5=float(hits.any(axis=1).mean()),
        balanced_accuracy=float((recalled[present] / per_class[present]).mean()),
        n_test=len(y_true),
    )


def rank_classes(scores: npt.NDArray[np.floating], classes: npt.NDArray[np.integer]) -> Ints:
    """The best class ids (n, 5), best first, -1 where there are fewer, by `scores` (n, k) of `classes` (k,);
    among equals the first."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]
    top5 = np.full((len(scores), TOP), -1, dtype=np.int64)
    top5[:, : best.shape[1]] = classes[best]
    return top5


def map_up(predictions: npt.NDArray[np.integer], parents: npt.NDArray[np.integer]) -> Ints:
    """Ranked fine classes (n, k) as ranked coarse classes (n, k): `parents[f]` is the coarse class of fine
    class f.

    A coarse class keeps its best rank; what is left over is -1. So top-5 of a coarse level is among the
    parents of the five best fine classes.
    """
    mapped = np.where(predictions >= 0, np.asarray(parents)[predictions], -1)
    columns = np.arange(mapped.shape[1])
    repeated = np.zeros(mapped.shape, dtype=bool)
    for column in columns[1:]:
        repeated[:, column] = (mapped[:, :column] == mapped[:, column : column + 1]).any(axis=1)
    kept = np.where(repeated, -1, mapped)
    order = np.argsort(kept < 0, axis=1, kind="stable")
    return np.take_along_axis(kept, order, axis=1).astype(np.int64)
