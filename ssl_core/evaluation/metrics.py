"""Scores of ranked predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
TOP = 5
"""Classes that are kept per test image."""


@dataclass(frozen=True)
class Ranking:
    """Ranked class ids beside the labels of the test images."""

    y_true: npt.NDArray[np.integer]
    """(n,)"""
    top5: npt.NDArray[np.integer]
    """(n, 5), best first and -1 for no class."""
    n_classes: int

    @cached_property
    def right(self) -> npt.NDArray[np.bool_]:
        """(n, 5) whether a rank is the true class."""
        found: npt.NDArray[np.bool_] = self.top5 == self.y_true[:, None]
        return found

    @property
    def top1(self) -> float:
        """Share of images whose first rank is right."""
        return float(self.right[:, 0].mean())

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall over the classes that occur in the test set."""
        counts = per_class(self.y_true, self.top5, self.n_classes)
        present = counts.n_test > 0
        return float((counts.correct[present] / counts.n_test[present]).mean())


@dataclass(frozen=True)
class Metric:
    """A score: a column of the results and a metric in MLflow."""

    value: Callable[[Ranking], float]
    doc: str
    """What it measures, in one sentence."""


METRICS: Mapping[str, Metric] = {
    "top1": Metric(lambda r: r.top1, "Share of test images whose top-ranked class is right."),
    "top1_std_err": Metric(
        lambda r: math.sqrt(r.top1 * (1 - r.top1) / len(r.y_true)), "Binomial standard error of `top1`."
    ),
    "top5": Metric(
        lambda r: float(r.right.any(axis=1).mean()),
        "Share of test images with the right class among the five top-ranked.",
    ),
    "balanced_accuracy": Metric(
        lambda r: r.balanced_accuracy, "Mean recall over the classes of the test set."
    ),
}
"""Every metric, by name. A cell that finished before a metric was added has no value for it."""


def score(y_true: npt.NDArray[np.integer], top5: npt.NDArray[np.integer], n_classes: int) -> dict[str, float]:
    """``METRICS`` and ``n_test``, the number of images, of ranked class ids (n, 5) against labels (n,).

    Ids are best first, and -1 for no class.

    Raises:
        ValueError: The two do not fit together, or a label is outside 0 … n_classes - 1.
    """
    if len(y_true) == 0 or top5.ndim != 2 or len(top5) != len(y_true):
        raise ValueError(
            f"{len(y_true)} labels and predictions of shape {top5.shape}; give (n,) and (n, 5), n > 0"
        )
    if y_true.min() < 0 or y_true.max() >= n_classes or top5.max() >= n_classes:
        raise ValueError(f"a label or prediction is outside 0 to {n_classes - 1}")
    ranking = Ranking(y_true, top5, n_classes)
    return {name: metric.value(ranking) for name, metric in METRICS.items()} | {"n_test": len(y_true)}


@dataclass(frozen=True, kw_only=True)
class PerClass:
    """Counts of each class, (n_classes,)."""

    n_test: Ints
    """Test images of the class."""
    correct: Ints
    """How many of them are predicted correctly."""


def per_class(y_true: npt.NDArray[np.integer], top5: npt.NDArray[np.integer], n_classes: int) -> PerClass:
    """Counts of labels (n,) and first ranks of predictions (n, 5), by the true class."""
    right = top5[:, 0] == y_true
    return PerClass(
        n_test=np.bincount(y_true, minlength=n_classes),
        correct=np.bincount(y_true[right], minlength=n_classes),
    )


def hits(y_true: npt.NDArray[np.integer], top5: npt.NDArray[np.integer]) -> bytes:
    """One bit per test image, in order: whether its first rank is right; ⌈n / 8⌉ bytes."""
    return np.packbits(top5[:, 0] == y_true).tobytes()


def rank_classes(scores: npt.NDArray[np.floating], classes: npt.NDArray[np.integer]) -> Ints:
    """The best class ids (n, 5), best first, by ``scores`` (n, k) of ``classes`` (k,).

    Among equal scores the first class is first; ids are -1 if there are fewer than five classes.
    """
    left = np.nan_to_num(scores, nan=float(np.finfo(scores.dtype).min))  # a copy, all of it above -inf
    top5 = np.full((len(scores), TOP), -1, dtype=np.int64)
    rows = np.arange(len(scores))
    for rank in range(min(TOP, len(classes))):  # five passes are faster than sorting many classes
        best = left.argmax(axis=1)
        top5[:, rank] = classes[best]
        left[rows, best] = -np.inf
    return top5


def map_up(predictions: npt.NDArray[np.integer], parents: npt.NDArray[np.integer]) -> Ints:
    """Ranked coarse classes (n, k) from ranked fine classes (n, k).

    ``parents[f]`` is the coarse class of fine class f. A coarse class keeps its best rank, and the remaining
    ranks are -1. So the top five of a coarse level are the parents of the five best fine classes.
    """
    mapped = np.where(predictions >= 0, np.asarray(parents)[predictions], -1)
    columns = np.arange(mapped.shape[1])
    repeated = np.zeros(mapped.shape, dtype=bool)
    for column in columns[1:]:
        repeated[:, column] = (mapped[:, :column] == mapped[:, column : column + 1]).any(axis=1)
    kept = np.where(repeated, -1, mapped)
    order = np.argsort(kept < 0, axis=1, kind="stable")
    return np.take_along_axis(kept, order, axis=1).astype(np.int64)


def level_predictions(
    top5: npt.NDArray[np.integer], *, trained: int, parents: Sequence[npt.NDArray[np.integer]]
) -> tuple[Ints, ...]:
    """Predictions (n, 5) of a classifier at the level it was trained on, and at every coarser level.

    Args:
        top5: Ranked classes (n, 5) of the trained level.
        trained: That level; 0 is the finest.
        parents: For each level but the finest, the class of each finest class, (n finest,).

    Raises:
        ValueError: A class of the trained level lies in two classes of a coarser one.
    """
    if not 0 <= trained <= len(parents):
        raise ValueError(f"trained is {trained}; there are levels 0 to {len(parents)}")
    found = [np.asarray(top5, dtype=np.int64)]
    for level in range(trained, len(parents)):
        above = np.asarray(parents[level])
        found.append(map_up(top5, above if trained == 0 else _between(parents, trained, level + 1)))
    return tuple(found)


def _between(parents: Sequence[npt.NDArray[np.integer]], fine: int, coarse: int) -> Ints:
    """The class at level ``coarse`` of each class at level ``fine``; neither is the finest level."""
    of_fine, of_coarse = np.asarray(parents[fine - 1]), np.asarray(parents[coarse - 1])
    above = np.full(of_fine.max() + 1, -1, dtype=np.int64)
    above[of_fine] = of_coarse
    split = np.flatnonzero(above[of_fine] != of_coarse)
    if len(split):
        raise ValueError(
            f"class {of_fine[split[0]]} of level {fine} lies in two classes of level {coarse}, "
            f"{of_coarse[split[0]]} and {above[of_fine[split[0]]]}; predictions cannot be mapped up"
        )
    return above


def level_scores(
    top5: npt.NDArray[np.integer],
    *,
    trained: int,
    labels: Sequence[npt.NDArray[np.integer]],
    parents: Sequence[npt.NDArray[np.integer]],
    n_classes: Sequence[int],
) -> tuple[dict[str, float], ...]:
    """Scores at the level a classifier was trained on, and at every coarser level.

    See ``level_predictions``. ``labels`` (n_test,) and ``n_classes`` are given for every level, from the
    finest.
    """
    levels = level_predictions(top5, trained=trained, parents=parents)
    return tuple(
        score(np.asarray(labels[level]), ranked, n_classes[level])
        for level, ranked in enumerate(levels, start=trained)
    )
