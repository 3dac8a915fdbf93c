"""Run stages: check that each is still to do, hand it to its kind's module, and report how it ended.

A stage writes its files into its own folder and commits the manifest last. Other stages only read committed
files, so a stage that was killed simply runs again and overwrites what it left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ssl_sweep.sweep.errors import DamagedError, StoreError
from ssl_sweep.sweep.execution.backend import Outcome
from ssl_sweep.sweep.execution.failures import failure_of
from ssl_sweep.sweep.execution.runtime import Runtime, TrainPlan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.specs import Stage
from ssl_sweep.sweep.stages.context import StageInterrupted
from ssl_sweep.sweep.stages.features import extract
from ssl_sweep.sweep.stages.finetune import finetune
from ssl_sweep.sweep.stages.inputs import Inputs
from ssl_sweep.sweep.stages.prepare import commit_prepared
from ssl_sweep.sweep.stages.pretrain import initialise, pretrain
from ssl_sweep.sweep.stages.probe import probe
from ssl_sweep.sweep.store.log import StageLog
from ssl_sweep.sweep.store.store import Store

if TYPE_CHECKING:
    from ssl_sweep.ssl_core.training.reporter import Reporter

_LIGHT: Mapping[Stage, Callable[[PlannedStage, Any, Inputs], bool]] = {
    "prepare": commit_prepared,
    "pretrain": initialise,
    "features": extract,
    "probe": probe,
}
_TRAININGS: Mapping[Stage, Callable[[PlannedStage, Any, Runtime, TrainPlan, Reporter], bool]] = {
    "pretrain": pretrain,
    "finetune": finetune,
}
"""What performs and commits each kind; False if another process committed the stage first."""


def perform_light(stages: Sequence[PlannedStage], runtime: Runtime, threads: int = 1) -> list[Outcome]:
    """Run stages of one kind that share their input, one after the other, and commit each as it ends.

    A stage that fails leaves its traceback in its log, and the others still run.
    """
    if stages[0].kind in ("pretrain", "features"):  # the others start sooner without torch
        import torch

        torch.set_num_threads(threads)
    store = runtime.open_store()
    outcomes: list[Outcome] = []
    inputs = Inputs(runtime, store)
    for stage in stages:
        if runtime.stop_requested():
            outcomes.append(Outcome(stage.id, "interrupted"))
            continue
        try:
            executed = not _already_done(stage, store)
            if executed:
                executed = _LIGHT[stage.kind](stage, stage.spec, inputs)
            outcomes.append(Outcome(stage.id, "complete", executed=executed))
        except StageInterrupted:
            outcomes.append(Outcome(stage.id, "interrupted"))
        except Exception as error:
            StageLog(store.path(stage.kind, stage.id)).error(error)
            with suppress(StoreError, OSError):
                store.share(stage.kind, stage.id)
            outcomes.append(Outcome(stage.id, "failed", failure_of(error)))
    return outcomes


def run_training(runtime: Runtime, stage: PlannedStage, plan: TrainPlan, reporter: Reporter) -> bool:
    """Pretrain or fine-tune one encoder and commit it. Every worker of the group calls this; rank 0 commits.

    Returns:
        False if another process committed the stage first.

    Raises:
        StageInterrupted: the training stopped on request, after saving a checkpoint.
    """
    return _TRAININGS[stage.kind](stage, stage.spec, runtime, plan, reporter)


def _already_done(stage: PlannedStage, store: Store) -> bool:
    """Whether another process completed the stage after it was planned.

    For a prepared dataset the planner reads more than whether it is complete. If the files are not as they
    were committed, the stage is withdrawn, so that it runs again.
    """
    if store.complete(stage.kind, stage.id) is None:
        return False
    if stage.kind == "prepare":
        try:
            store.fetch(stage.kind, stage.id)
        except DamagedError as error:
            StageLog(store.path(stage.kind, stage.id)).line(f"runs again: {error}")
            store.withdraw(stage.kind, stage.id)
            return False
    return True
