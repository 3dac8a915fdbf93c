"""Where the label budget of a probe or fine-tuning is drawn."""

from __future__ import annotations

import numpy as np

from ssl_sweep.data_ops.dataset.pool import leaked
from ssl_sweep.data_ops.dataset.prepared import PreparedDataset
from ssl_sweep.data_ops.dataset.subsets import Positions, label_budget
from ssl_sweep.sweep.spec.specs import Answer


def budget_rows(spec: Answer, data: PreparedDataset) -> Positions:
    """Return the rows of the training images whose labels may be used, ascending.

    If ``spec.without_copies``, training images that are copies of test images are not drawn.
    """
    keys, labels = data.keys("train"), data.labels("train")
    if spec.without_copies:
        labels = np.where(leaked(data, [data]), -1, labels)
    return np.sort(
        label_budget(keys, labels, spec.n_labels, spec.seed, draw=spec.draw, imbalance=spec.imbalance)
    )
