"""One training inside a Tune trial: in the trial's process, or by a worker group of Ray Train.

Train neither saves checkpoints nor retries here. A worker group that loses a worker ends, and the scheduler
starts the training again from the checkpoint in the store: one place decides, whichever process died.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

from ssl_sweep.sweep.cluster.nodes import free_now
from ssl_sweep.sweep.execution.backend import Outcome
from ssl_sweep.sweep.execution.failures import StageFailed, failure_from_afar
from ssl_sweep.sweep.execution.runtime import Runtime, TrainPlan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.specs import PretrainSpec
from ssl_sweep.sweep.stages.training import train
from ssl_sweep.sweep.util.scratch import new_scratch

CPU_SHARE = 0.8
"""The share of its CPUs that a training takes. Light stages (features, probes) get the rest, so that they
start as soon as their encoder is complete instead of waiting for the last training."""


def perform(stage: PlannedStage, runtime: Runtime, plan: TrainPlan) -> Outcome:
    """Train and commit, in the one of Train's two modes that was planned."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig

    from ssl_sweep.sweep.cluster.internals import lean_trainer, meet_by_file, named_group

    if plan.least:
        plan = replace(plan, workers=_workers_now(stage, plan))
    loop_config = {"stage": stage, "runtime": runtime, "plan": plan}
    if plan.in_process:
        scaling = ScalingConfig(num_workers=0)
        trainer = lean_trainer(_alone, train_loop_config=loop_config, scaling_config=scaling)
        alone: Outcome = trainer.fit().return_value
        return alone
    store = runtime.open_store()
    if store.complete(stage.kind, stage.id):
        return Outcome(stage.id, "complete", executed=False)
    if runtime.stop_requested():
        return Outcome(stage.id, "interrupted")
    share = {"CPU": plan.cpus * CPU_SHARE} | ({"GPU": plan.gpus} if plan.gpus else {})
    scratch = str(new_scratch("train"))  # Train needs a folder on this node
    backend = "nccl" if plan.gpus else "gloo"
    on_one_machine = runtime.private
    meeting = meet_by_file(backend, f"{scratch}/meeting") if on_one_machine else TorchConfig(backend=backend)
    try:
        result = lean_trainer(
            _one_of_many,
            train_loop_config=loop_config,
            torch_config=meeting,
            scaling_config=ScalingConfig(
                num_workers=plan.workers,
                use_gpu=bool(plan.gpus),
                resources_per_worker=share,
                placement_strategy="SPREAD" if plan.spread else "PACK",
            ),
            run_config=RunConfig(
                name=stage.id,
                storage_path=scratch,
                failure_config=FailureConfig(max_failures=0, max_preemption_failures=0),
                callbacks=[named_group(stage)],
            ),
        ).fit()
    except Exception as error:  # every failure of the group arrives here
        return Outcome(stage.id, "failed", failure_from_afar(error, stage, store))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    together: Outcome = result.return_value  # rank 0's
    return together


def _workers_now(stage: PlannedStage, plan: TrainPlan) -> int:
    """The largest allowed number of workers that fits now and divides the batch evenly."""
    assert isinstance(stage.spec, PretrainSpec)
    batch, room = stage.spec.config.batch, free_now().workers(plan.cpus * CPU_SHARE, plan.gpus)
    counts = [n for n in range(plan.least, plan.workers + 1) if batch % n == 0 and batch // n >= 2]
    return max((n for n in counts if n <= room), default=min(counts))


def _alone(config: dict[str, Any]) -> Outcome:
    return train(config["stage"], config["runtime"], config["plan"])


def _one_of_many(config: dict[str, Any]) -> Outcome:
    """Run one of the group's workers. It raises its failure, so that Train ends the group: the others wait
    for this one."""
    from ray import train as ray_train

    rank = ray_train.get_context().get_world_rank()
    outcome = train(config["stage"], config["runtime"], config["plan"], rank)
    if outcome.failure is not None:
        raise StageFailed(outcome.failure)
    return outcome
