"""Where the label budget of a probe or fine-tuning is drawn."""

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
