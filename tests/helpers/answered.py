"""A sweep whose cells are answered with known predictions: 200 test images, five classes in three groups."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_sweep.ssl_core.evaluation.metrics import score
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.store.manifest import RunRecord

GRID = """\
name: demo
datasets:
  objects: {source: synthetic, domain: objects, train: 1000, test: 200}
pretrain:
  - {domain: objects, images: 400, epochs: 2, batch: 64}
  - {method: random, seed: 0}
evaluate:
  - {domain: objects, labels: 50, train_level: [finest, group]}
"""
NAMES = (tuple("abcde"), tuple("xyz"))
PARENTS = (0, 0, 1, 1, 2)
COARSE = np.asarray(PARENTS)
TRUE = np.arange(200) % 5
GUESS = (np.arange(200) // 7) % 5


def answered(sweeps: Any, grid: str = GRID) -> Plan:
    """The plan of a grid like GRID, everything of it complete; metrics are those of the predictions."""
    (prepare,) = sweeps.plan(grid).prepares
    names = {"class_names": NAMES, "parents": (PARENTS,), "size": 32}
    sweeps.commit(prepare, sweeps.outputs(prepare, **names))
    plan = sweeps.plan(grid)
    sweeps.finish(n for n in plan.to_run if n.kind == "features")
    epochs = [{"rankme": 9.0}, {"rankme": 17.5}]
    for stage in plan.to_run:
        if stage.kind == "pretrain":
            sweeps.commit(stage, {"epochs": epochs, "seconds": 12.0} if stage.trains else {})
        if stage.kind == "probe":
            fine = not stage.spec.level
            y, best = (TRUE, GUESS) if fine else (COARSE[TRUE], COARSE[GUESS])
            _write(sweeps.store.predictions(stage.id), y, best)
            levels = {"group": _metrics(COARSE[TRUE], COARSE[GUESS], 3)}
            if fine:
                levels["class"] = _metrics(TRUE, GUESS, 5)
            outputs = {"levels": levels, "C": 1.0, "converged": True}
            run = RunRecord.since(time.time() - 2, hardware="a processor")
            sweeps.store.commit("probe", stage.id, stage.spec, stage.upstream, outputs, run)
    done: Plan = sweeps.plan(grid)
    return done


def _metrics(y: np.ndarray, best: np.ndarray, classes: int) -> dict[str, float]:
    return score(y, _ranked(best), classes)


def _ranked(best: np.ndarray) -> np.ndarray:
    top5 = np.full((len(best), 5), -1, np.int32)
    top5[:, 0] = best
    return top5


def _write(path: Path, y: np.ndarray, best: np.ndarray) -> None:
    flat = pa.FixedSizeListArray.from_arrays(pa.array(_ranked(best).ravel()), 5)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"y": pa.array(y, pa.int32()), "top5": flat}), path)
