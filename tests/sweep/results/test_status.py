from __future__ import annotations

import json
from typing import Any

import pytest

from ssl_sweep.sweep.results.status import node_statuses, status
from ssl_sweep.sweep.store.manifest import Failure


@pytest.mark.smoke
def test_failures_block_what_needs_them_and_nothing_else(sweeps: Any) -> None:
    plan = sweeps.prepared()
    failed = plan.pretrainings[0]
    sweeps.store.fail("pretrain", failed.id, Failure(kind="oom", message="the GPU is full", attempt=2))
    sweeps.finish([plan.pretrainings[1]])
    found = status(sweeps.plan(), sweeps.store)
    assert found.counts["prepare"] == {"complete": 2, "running": 0, "to_run": 0, "failed": 0, "blocked": 0}
    assert found.counts["pretrain"] == {"complete": 1, "running": 0, "to_run": 8, "failed": 1, "blocked": 0}
    assert found.counts["features"] == {"complete": 0, "running": 0, "to_run": 28, "failed": 0, "blocked": 4}
    assert found.counts["probe"] == {"complete": 0, "running": 0, "to_run": 70, "failed": 0, "blocked": 10}
    assert found.cells == {"complete": 0, "failed": 0, "blocked": 10, "missing": 70}
    (failure,) = found.failures
    assert (failure.id, failure.kind, failure.message, failure.attempt) == (
        failed.id,
        "oom",
        "the GPU is full",
        2,
    )
    assert failure.label == "simclr · objects · 400 · none · seed 0"
    document = json.loads(json.dumps(found.to_json()))
    assert document["failures"][0]["message"] == "the GPU is full"
    assert document["counts"]["features"]["blocked"] == 4


def test_a_dataset_that_cannot_be_prepared_blocks_its_cells(sweeps: Any) -> None:
    plan = sweeps.plan()
    objects, scenes = plan.prepares
    sweeps.store.fail("prepare", objects.id, Failure(kind="data", message="image 5 is damaged"))
    sweeps.finish([scenes])
    plan = sweeps.plan()
    states = node_statuses(plan, sweeps.store)
    reads = {stage.id: "objects" in stage.datasets for stage in plan.stages if stage.kind == "pretrain"}
    assert all((states[id] == "blocked") == blocked for id, blocked in reads.items())
    assert sum(reads.values()) == 4 + 2  # objects and the pool at two sizes, two random encoders


@pytest.mark.smoke
def test_a_finished_sweep(sweeps: Any) -> None:
    sweeps.finish(sweeps.prepared().to_run)
    found = status(sweeps.plan(), sweeps.store)
    assert found.cells == {"complete": 80, "failed": 0, "blocked": 0, "missing": 0}
    assert found.failures == ()
