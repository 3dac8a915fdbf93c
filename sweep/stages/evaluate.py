"""Evaluate a classifier on all test images: save its predictions and compute the metrics of every level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ssl_sweep.data_ops.dataset.prepared import PreparedDataset
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.util.files import whole


def evaluate(
    stage_id: str, data: PreparedDataset, level: str, top5: np.ndarray, store: Store
) -> dict[str, Any]:
    """Save the predictions of a stage and return its metrics.

    Args:
        stage_id: Id of the probe or fine-tuning.
        data: Dataset whose test images were classified.
        level: Level that the classifier learned, '' for the finest.
        top5: Predicted classes, best first, shape (test images, 5 or fewer).
        store: Where to write.

    Returns:
        ``{"levels": {name: metrics}}`` for the level that was learned and, by mapping predictions up, for
        every coarser one.
    """
    from ssl_sweep.ssl_core.evaluation.metrics import level_scores

    manifest = data.manifest
    trained = manifest.levels.index(level) if level else 0
    scores = level_scores(
        top5,
        trained=trained,
        labels=[data.labels("test", name) for name in manifest.levels],
        parents=[np.asarray(parents) for parents in manifest.parents],
        n_classes=[manifest.n_classes(name) for name in manifest.levels],
    )
    labels = data.labels("test", manifest.levels[trained])
    _write_predictions(store.predictions(stage_id), data.ids("test"), labels, top5)
    names = manifest.levels[trained:]
    return {"levels": dict(zip(names, scores, strict=True))}


def _write_predictions(path: Path, ids: np.ndarray, y: np.ndarray, top5: np.ndarray) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "image_id": pa.array([str(i) for i in ids]),
            "y": pa.array(y, pa.int32()),
            "top5": pa.FixedSizeListArray.from_arrays(
                pa.array(np.ascontiguousarray(top5, np.int32).ravel()), top5.shape[1]
            ),
        }
    )
    with whole(path) as partial:
        pq.write_table(table, partial, compression="zstd")
