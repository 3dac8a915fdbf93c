"""Which runs the tracker should have, and what they say."""

from __future__ import annotations

from typing import Any

import pytest

from ssl_sweep.sweep.tracking.mlflow_client import MirrorRun, model_of
from ssl_sweep.sweep.tracking.runs import MirroredRuns


def test_a_training_has_the_loss_of_every_epoch(sweeps: Any) -> None:
    sweeps.finish(sweeps.prepared().pretrainings)
    plan = sweeps.plan()
    stage = plan.pretrainings[0]
    log = sweeps.store.path("pretrain", stage.id) / "epochs.jsonl"
    log.write_text('{"epoch": 0, "loss": 5.5}\n{"epoch": 1, "loss": 4.5, "rankme": null}\n')
    (run,) = MirroredRuns(plan, sweeps.store, models=False).runs(stage)
    assert run.id == stage.id and run.metrics == (("loss", 5.5, 0), ("loss", 4.5, 1))


@pytest.mark.smoke
def test_models_that_are_missing_are_pending_once_they_are_asked_for(sweeps: Any) -> None:
    plan = sweeps.prepared()
    sweeps.finish(plan.pretrainings)
    plan = sweeps.plan()
    logged = frozenset(stage.id for stage in plan.pretrainings)

    def lacking(done: frozenset[str], models: bool) -> list[MirrorRun]:
        mirrored = MirroredRuns(plan, sweeps.store, models)
        return [run for stage in mirrored.stages for run in mirrored.runs(stage, done)]

    assert lacking(logged, models=False) == []
    found = lacking(logged, models=True)
    assert {run.id for run in found} == logged and all(run.encoder for run in found)
    assert lacking(logged | {model_of(id) for id in logged}, models=True) == []
