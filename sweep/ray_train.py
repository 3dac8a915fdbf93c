"""Trainings on Ray: one Tune trial for each, a TorchTrainer inside it, our store as the truth.

Tune gets an explicit list and never restores: what is done is read from the store before it starts.
A training that was cut off goes on from the checkpoint in its stage's folder.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from typing import Any

from sweep.nodes import Node
from sweep.reporting import StageReporter
from sweep.runtime import Runtime, TrainPlan
from sweep.stages import StageInterrupted, record_failure, run_training

# A worker process that dies is started again from the last checkpoint this many times.
_WORKER_FAILURES = 2
# What a training leaves of its CPUs to the light stages (features, probes), so that they start as soon as
# their encoder is there instead of waiting for the last training.
CPU_SHARE = 0.8


def run_tune(nodes: Sequence[Node], runtime: Runtime, plans: dict[str, TrainPlan], concurrent: int) -> None:
    """Run every training as a Tune trial, first come first served; returns when all have ended.

    A trial never raises for a training that failed: it leaves ``error.json`` in the store.
    """
    from ray import tune

    by_id = {node.id: node for node in nodes}

    def resources(config: dict[str, Any]) -> dict[str, float]:
        need = plans[config["training"]]
        if not need.in_process:
            return {"CPU": 0.01}
        return {"CPU": need.cpus * CPU_SHARE, "GPU": need.gpus}

    trial = tune.with_parameters(_trial, nodes=by_id, runtime=runtime, plans=plans)
    scratch = tempfile.mkdtemp(prefix="ssl-sweep-tune-")
    try:
        tune.Tuner(
            tune.with_resources(trial, resources),
            param_space={"training": tune.grid_search([node.id for node in nodes])},
            tune_config=tune.TuneConfig(max_concurrent_trials=concurrent, reuse_actors=True),
            run_config=tune.RunConfig(
                storage_path=scratch,
                name="trials",
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=_WORKER_FAILURES),
            ),
        ).fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _trial(
    config: dict[str, Any], nodes: dict[str, Node], runtime: Runtime, plans: dict[str, TrainPlan]
) -> dict[str, str]:
    """One trial. The result is for Tune alone, which prints about trials that have none."""
    _train(nodes[config["training"]], runtime, plans[config["training"]])
    return {"training": config["training"]}


def _train(node: Node, runtime: Runtime, need: TrainPlan) -> None:
    """The driver of one training: it only builds a TorchTrainer and waits for it."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    class LeanTrainer(TorchTrainer):
        """Leaves out the callback for Ray Data, which is not used: it costs a process start a training."""

        def _create_default_callbacks(self) -> list[Any]:
            unused = {"DatasetsCallback"} | ({"PlacementGroupCleanerCallback"} if runtime.private else set())
            return [
                callback
                for callback in super()._create_default_callbacks()
                if type(callback).__name__ not in unused
            ]

    if runtime.stop_requested():
        return
    loop_config = {"node": node, "runtime": runtime, "plan": need}
    if need.in_process:
        # No fault tolerance of Train's own here: ours restarts from the checkpoint in the store.
        LeanTrainer(
            _local_loop, train_loop_config=loop_config, scaling_config=ScalingConfig(num_workers=0)
        ).fit()
        return
    scratch = tempfile.mkdtemp(prefix="ssl-sweep-train-")  # Train gets no checkpoint: ours are in the store
    share = {"CPU": need.cpus * CPU_SHARE} | ({"GPU": need.gpus} if need.gpus else {})
    trainer = LeanTrainer(
        _worker_loop,
        train_loop_config=loop_config,
        torch_config=TorchConfig(backend="nccl" if need.gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=need.workers,
            use_gpu=bool(need.gpus),
            resources_per_worker=share,
        ),
        run_config=RunConfig(
            name=node.id,
            storage_path=scratch,
            failure_config=FailureConfig(max_failures=_WORKER_FAILURES),
        ),
    )
    try:
        trainer.fit()
    except Exception as error:  # every failure of the group ends here; the store must say which
        if runtime.open_store().failure(node.stage, node.id) is None and not runtime.stop_requested():
            record_failure(runtime, node, error)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _local_loop(config: dict[str, Any]) -> None:
    """One worker in the trial's own process; checkpoints and epochs go to the stage's folder."""
    node, runtime = config["node"], config["runtime"]
    try:
        reporter = StageReporter(runtime.open_store(), node.stage, node.id, runtime.stop_requested)
        run_training(runtime, node, config["plan"], reporter)
    except StageInterrupted:
        return
    except Exception as error:
        record_failure(runtime, node, error)


def _worker_loop(config: dict[str, Any]) -> None:
    """One of the group's workers: the same training, its checkpoints in the store as well."""
    from ray import train

    node, runtime = config["node"], config["runtime"]
    store = runtime.open_store()
    if store.complete(node.stage, node.id) or store.failure(node.stage, node.id):
        return  # an error of its own would come again; only a lost worker is worth another attempt
    rank = train.get_context().get_world_rank()
    try:
        reporter = StageReporter(store, node.stage, node.id, runtime.stop_requested, rank)
        run_training(runtime, node, config["plan"], reporter)
    except StageInterrupted:
        return
    except Exception as error:
        record_failure(runtime, node, error)
        raise  # the other workers wait for this one: Train must end the group
