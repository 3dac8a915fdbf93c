"""A whole small sweep in this process, without Ray: every stage in its turn, then the results table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ssl_sweep.ssl_core.training.reporter import LocalReporter
from ssl_sweep.sweep.execution.runtime import Runtime, TrainPlan
from ssl_sweep.sweep.results.table import results
from ssl_sweep.sweep.run.run import datasets_of
from ssl_sweep.sweep.stages.perform import perform_light, run_training


def run_here(sweeps: Any, grid: str) -> list[dict[str, Any]]:
    """The rows of a grid after everything it asks for was done; ``sweeps`` is the fixture of tests/sweep."""
    store = sweeps.store
    store.check_writable()
    runtime = Runtime(store=str(store.root), stop_file=sweeps.folder / "stop")
    for stage in sweeps.plan(grid).prepares:
        perform_light([stage], runtime)
    plan = sweeps.plan(grid)
    runtime = replace(runtime, datasets=datasets_of(plan, store))
    for stage in plan.to_run:
        if stage.heavy:
            run_training(runtime, stage, TrainPlan(), LocalReporter(store.path(stage.kind, stage.id)))
        else:
            (outcome,) = perform_light([stage], runtime)
            assert outcome.status == "complete", outcome.failure
    plan = sweeps.plan(grid)
    assert not plan.to_run
    rows: list[dict[str, Any]] = results(plan, store).to_pylist()
    return rows
