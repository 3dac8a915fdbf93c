"""Which test images were right, at every level, from the predictions of the level that was learnt."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sweep.evidence import EVIDENCE, FULL_SCHEMA, results_with_evidence
from sweep.manifest import RunRecord

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
PARENTS = (0, 0, 1, 1, 2)
COARSE = np.asarray(PARENTS)
TRUE = np.arange(200) % 5
GUESS = (np.arange(200) // 7) % 5


def predicted(path: Any, y: np.ndarray, best: np.ndarray) -> None:
    top5 = np.full((len(y), 5), -1, np.int32)
    top5[:, 0] = best
    flat = pa.FixedSizeListArray.from_arrays(pa.array(top5.ravel()), 5)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"y": pa.array(y, pa.int32()), "top5": flat}), path)


def test_hits_and_times_come_with_the_rows(sweeps: Any) -> None:
    (prepare,) = sweeps.plan(GRID).prepares
    names = {"class_names": (tuple("abcde"), tuple("xyz")), "parents": (PARENTS,), "size": 32}
    sweeps.commit(prepare, sweeps.outputs(prepare, **names))
    plan = sweeps.plan(GRID)
    sweeps.finish(n for n in plan.to_run if n.stage == "features")
    epochs = [{"rankme": 9.0}, {"rankme": 17.5}]
    for node in plan.to_run:
        if node.stage == "pretrain":
            sweeps.commit(node, {"epochs": epochs, "seconds": 12.0} if node.trains else {})
        if node.stage == "probe":
            fine, path = not node.spec.level, sweeps.store.predictions(node.id)
            predicted(path, TRUE if fine else COARSE[TRUE], GUESS if fine else COARSE[GUESS])
            run = RunRecord.since(time.time() - 2, hardware="a processor")
            sweeps.store.commit("probe", node.id, node.spec, node.upstream, sweeps.outputs(node), run)
    plan = sweeps.plan(GRID)
    table = results_with_evidence(plan, sweeps.store)
    assert table.schema.equals(FULL_SCHEMA) and set(EVIDENCE.names) < set(table.column_names)
    rows = table.to_pylist()
    assert len(rows) == 2 * (2 + 1)
    for row in rows:
        right = np.unpackbits(np.frombuffer(row["hits"], np.uint8), count=row["n_test"]).astype(bool)
        fine = row["level"] == "class"
        np.testing.assert_array_equal(right, TRUE == GUESS if fine else COARSE[TRUE] == COARSE[GUESS])
        assert row["n_classes"] == (5 if fine else 3) and row["levels_total"] == 2
        trained = row["method"] == "simclr"
        assert (row["rankme"], row["train_seconds"]) == ((17.5, 12.0) if trained else (None, None))
        assert row["answer_seconds"] > 0
    assert {row["train_level"] for row in rows if row["level"] == "class"} == {"class"}


def test_unfinished_rows_have_none(sweeps: Any) -> None:
    rows = results_with_evidence(sweeps.plan(GRID), sweeps.store).to_pylist()
    assert rows and all(row[name] is None for row in rows for name in EVIDENCE.names)
