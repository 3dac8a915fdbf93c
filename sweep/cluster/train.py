"""One training inside a Tune trial: in its own process, or by a worker group of Ray Train.

Train has no checkpoints and no retries here. A worker group that loses a worker ends, and `execute` starts
the training again from the checkpoint in the store: one place decides, whichever process it was that died.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

from ssl_sweep.sweep.cluster.connect import free_now
from ssl_sweep.sweep.execution.backend import Outcome
from ssl_sweep.sweep.execution.failures import StageFailed, failure_from_afar
from ssl_sweep.sweep.execution.runtime import Runtime, TrainPlan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.specs import PretrainSpec
from ssl_sweep.sweep.stages.training import train
from ssl_sweep.sweep.util.scratch import new_scratch

# What a training leaves of its CPUs to the light stages (features, probes), so that they start as soon as
# their encoder is there instead of waiting for the last training.
CPU_SHARE = 0.8


def perform(stage: PlannedStage, runtime: Runtime, plan: TrainPlan) -> Outcome:
    """Train and commit, in whichever of Train's two modes was planned."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from ssl_sweep.sweep.cluster.groups import NamedGroups
    from ssl_sweep.sweep.cluster.meeting import MeetByFile

    class LeanTrainer(TorchTrainer):
        """Leaves out two callbacks that cost a process each: Ray Data is not used, and placement groups are
        taken away by name."""

        def _create_default_callbacks(self) -> list[Any]:
            unused = {"DatasetsCallback", "PlacementGroupCleanerCallback"}
            return [each for each in super()._create_default_callbacks() if type(each).__name__ not in unused]

    if plan.least:
        plan = replace(plan, workers=_workers_now(stage, plan))
    loop_config = {"node": stage, "runtime": runtime, "plan": plan}
    if plan.in_process:
        scaling = ScalingConfig(num_workers=0)
        alone: Outcome = (
            LeanTrainer(_alone, train_loop_config=loop_config, scaling_config=scaling).fit().return_value
        )
        return alone
    store = runtime.open_store()
    if store.complete(stage.kind, stage.id):
        return Outcome(stage.id, "complete", executed=False)
    if runtime.stop_requested():
        return Outcome(stage.id, "interrupted")
    share = {"CPU": plan.cpus * CPU_SHARE} | ({"GPU": plan.gpus} if plan.gpus else {})
    scratch = str(new_scratch("train"))  # Train wants one, on this node
    backend = "nccl" if plan.gpus else "gloo"
    here = MeetByFile(backend=backend, meeting=f"{scratch}/meeting")
    meeting = here if runtime.private else TorchConfig(backend=backend)
    try:
        result = LeanTrainer(
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
                callbacks=[NamedGroups(stage)],
            ),
        ).fit()
    except Exception as error:  # every failure of the group ends here
        return Outcome(stage.id, "failed", failure_from_afar(error, stage, store))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    together: Outcome = result.return_value  # rank 0's
    return together


def _workers_now(stage: PlannedStage, plan: TrainPlan) -> int:
    """As many as have room, within what is allowed; of the counts that share the batch evenly."""
    assert isinstance(stage.spec, PretrainSpec)
    batch, room = stage.spec.config.batch, free_now().workers(plan.cpus * CPU_SHARE, plan.gpus)
    counts = [n for n in range(plan.least, plan.workers + 1) if batch % n == 0 and batch // n >= 2]
    return max((n for n in counts if n <= room), default=min(counts))


def _alone(config: dict[str, Any]) -> Outcome:
    return train(config["node"], config["runtime"], config["plan"])


def _one_of_many(config: dict[str, Any]) -> Outcome:
    """One of the group's workers. A failure is raised: the others wait for this one, and Train must end the
    group."""
    from ray import train as ray_train

    rank = ray_train.get_context().get_world_rank()
    outcome = train(config["node"], config["runtime"], config["plan"], rank)
    if outcome.failure is not None:
        raise StageFailed(outcome.failure)
    return outcome
