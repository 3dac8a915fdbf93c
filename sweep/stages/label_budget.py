"""Where the label budget of a probe or fine-tuning is drawn, and which of its classes have no test image."""

from __future__ import annotations

import numpy as np

from ssl_sweep.data_ops.dataset.draws import Draws
from ssl_sweep.data_ops.dataset.prepared import PreparedDataset
from ssl_sweep.data_ops.dataset.subsets import Positions
from ssl_sweep.sweep.spec.specs import Answer


def budget_rows(spec: Answer, data: PreparedDataset) -> Positions:
    """Return the rows of the training images whose labels may be used, ascending."""
    draw = spec.seed, spec.draw, spec.imbalance, spec.without_copies
    return np.sort(Draws(data).budget(spec.n_labels, *draw))


def untested(spec: Answer, data: PreparedDataset, rows: Positions) -> dict[str, int]:
    """Class → key of one of its images, for the classes of a label budget that have no test image.

    Predictions have class numbers. If classes are renamed later, the labels of the test images and of these
    images tell which class has which number by then.
    """
    level = spec.level or None
    labels = data.labels("train", level)[rows]
    classes, first = np.unique(labels, return_index=True)
    alone = ~np.isin(classes, data.labels("test", level))
    keys = data.keys("train")[rows[first[alone]]]
    return {str(c): int(key) for c, key in zip(classes[alone], keys, strict=True)}
