"""Which test images were right, at every level, from the predictions of the level that was learnt."""

from __future__ import annotations

from typing import Any

import numpy as np
from answered import COARSE, GRID, GUESS, TRUE, answered

from ssl_sweep.sweep.results.report_table import EVIDENCE, FULL_SCHEMA, results_with_evidence


def test_hits_and_times_come_with_the_rows(sweeps: Any) -> None:
    plan = answered(sweeps)
    table = results_with_evidence(plan, sweeps.store)
    assert table.schema.equals(FULL_SCHEMA) and {c.name for c in EVIDENCE} < set(table.column_names)
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
    assert rows and all(row[name] is None for row in rows for name in (c.name for c in EVIDENCE))


def test_a_fusion_took_all_of_its_trainings(sweeps: Any) -> None:
    grid = GRID.replace("batch: 64}", "batch: 64, seed: [0, 1]}").replace(
        "labels: 50, train_level: [finest, group]",
        "labels: 50, fuse: [[{pretrain_seed: 0, method: simclr}, {pretrain_seed: 1}]]",
    )
    rows = results_with_evidence(answered(sweeps, grid), sweeps.store).to_pylist()
    assert rows and all(row["fused_with"] for row in rows)
    assert {(row["train_seconds"], row["rankme"]) for row in rows} == {(24.0, None)}
