"""Every use of Ray's private API, written for Ray 2.60: a new Ray can break this module only.

Ray is imported inside the functions. Each of them imports a part of it, and some parts take seconds.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_sweep.sweep.planning.stages import PlannedStage

if TYPE_CHECKING:
    from ray.job_config import JobConfig
    from ray.train import UserCallback
    from ray.train.torch import TorchConfig, TorchTrainer

_log = logging.getLogger(__name__)


# Connecting


@contextlib.contextmanager
def signals_kept() -> Iterator[None]:
    """Keep this process's handler of SIGTERM while Ray starts; it lets trainings write a checkpoint.

    Ray takes SIGTERM for itself, twice: in Python to exit at once, and in C++ to print a stack and abort
    after three seconds.
    """
    from ray._private import utils

    of_ray, utils.set_sigterm_handler = utils.set_sigterm_handler, lambda handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = of_ray
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
            signal.alarm(0)


def job_without_paths() -> JobConfig:
    """A job that leaves the search path of its workers alone.

    Ray would put the folder of the driver's script and its working folder first, so that a file csv.py there
    would stand in for Python's module. It does not do so for a job with a working folder of its own.
    """
    from ray.job_config import JobConfig

    class JobWithoutPaths(JobConfig):
        def _runtime_env_has_working_dir(self) -> bool:
            return True

    return JobWithoutPaths()


@contextlib.contextmanager
def patient_start(seconds: float = 120.0, pause_s: float = 0.2) -> Iterator[None]:
    """Give the processes of a Ray that is started inside the block this many seconds to start.

    Ray gives them 30, and asks for the new node by a function that raises until it is there. Here that
    function waits.
    """
    from ray._private import services

    of_ray = services.get_node

    def get_node(*address: Any) -> Any:
        end = time.monotonic() + seconds
        while True:
            try:
                return of_ray(*address)
            except RuntimeError:
                if time.monotonic() > end:
                    raise
                time.sleep(pause_s)

    services.get_node = get_node
    try:
        yield
    finally:
        services.get_node = of_ray


def auto_address() -> str:
    """The cluster that ``auto`` means: the last one started on this machine, which may have ended since.

    Returns '' if no cluster was started here.
    """
    from ray._private.services import canonicalize_bootstrap_address

    try:
        return canonicalize_bootstrap_address("auto") or ""
    except ValueError:  # RAY_ADDRESS is not valid; ray.init reports it
        return ""


def remove_worker_flags(environment: dict[str, str]) -> None:
    """Remove the variables by which a process takes itself for a worker of Ray."""
    from ray._private.utils import remove_ray_internal_flags_from_env

    remove_ray_internal_flags_from_env(environment)


def quiet_job_client() -> None:
    """Ray's job client logs each request and sets the level of its loggers itself."""
    for name in ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
        logging.getLogger(name).setLevel(logging.WARNING)


# Nodes


def all_nodes() -> list[dict[str, Any]]:
    """Every node that the cluster has or had, in the form of ``ray.nodes()``; also inside a worker."""
    from ray._private.state import nodes

    found: list[dict[str, Any]] = nodes()
    return found


def free_resources() -> dict[str, dict[str, float]]:
    """What is free on each node, by the node's id."""
    from ray._private.state import available_resources_per_node

    found: dict[str, dict[str, float]] = available_resources_per_node()
    return found


def draining_nodes() -> frozenset[str]:
    """The ids of the nodes that Ray is emptying because the cloud takes them back. Ray forgets them once they
    are gone."""
    from ray._private.state import state

    return frozenset(state.get_draining_nodes())


def removed_as_idle(node: Mapping[str, Any]) -> bool:
    """Whether the autoscaler removed this entry of ``ray.nodes()`` because nothing ran on it."""
    from ray.core.generated.common_pb2 import NodeDeathInfo

    return bool(node["DeathReason"] == NodeDeathInfo.AUTOSCALER_DRAIN_IDLE)


def removed_as_preempted(node: Mapping[str, Any]) -> bool:
    """Whether the cloud took this entry of ``ray.nodes()`` back."""
    from ray.core.generated.common_pb2 import NodeDeathInfo

    return bool(node["DeathReason"] == NodeDeathInfo.AUTOSCALER_DRAIN_PREEMPTED)


def kuberay_config(cluster: str, namespace: str) -> dict[str, Any]:
    """The autoscaler's configuration, made from the RayCluster object of Kubernetes."""
    from ray.autoscaler._private.kuberay.autoscaling_config import AutoscalingConfigProducer

    config: dict[str, Any] = AutoscalingConfigProducer(cluster, namespace)()
    return config


# Tune


def keep_credentials_out_of_trials() -> None:
    """Tune would put these variables into every trial's runtime environment, which Ray writes into its logs.
    Workers have the environment of their node."""
    from ray.tune.execution import class_cache

    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")
    )


def trial_error(trial: Any) -> BaseException:
    """The error that ended a trial. Tune saved it on this machine; ``Trial.get_pickled_error`` looks at the
    folder to which that file is copied later."""
    from ray import cloudpickle

    saved = trial.pickled_error_file
    if not saved or not Path(saved).exists():
        return RuntimeError("the trial's process died")
    with open(saved, "rb") as file:
        error: BaseException = cloudpickle.load(file)
    return error


# Train


def lean_trainer(*args: Any, **options: Any) -> TorchTrainer:
    """A ``TorchTrainer`` without two callbacks that cost a process each: Ray Data is not used, and placement
    groups are removed by name."""
    from ray.train.torch import TorchTrainer

    class LeanTrainer(TorchTrainer):
        def _create_default_callbacks(self) -> list[Any]:
            unused = {"DatasetsCallback", "PlacementGroupCleanerCallback"}
            return [each for each in super()._create_default_callbacks() if type(each).__name__ not in unused]

    return LeanTrainer(*args, **options)


def named_group(stage: PlannedStage) -> UserCallback:
    """A callback of Train that gives the placement group of this training's workers a name.

    Once the controller that made it was killed, Ray keeps an unnamed group until the whole job ends, and the
    next training would wait for its processors for ever.
    """
    from ray.train.v2._internal.execution.callback import WorkerGroupCallback

    name = _group_name(stage)

    class NamedGroup(WorkerGroupCallback):
        """Runs in the controller's process, before it makes the group."""

        def before_worker_group_start(self, worker_group_context: Any) -> None:
            from ray.train.v2._internal.execution.worker_group import worker_group
            from ray.util import placement_group

            worker_group.placement_group = partial(placement_group, name=name)

    return NamedGroup()


def remove_group(stage: PlannedStage) -> None:
    """Remove the placement group that the controller of this training left, if there is one."""
    from ray.util import get_placement_group, remove_placement_group

    try:
        remove_placement_group(get_placement_group(_group_name(stage)))
    except ValueError:  # there is no group of this name
        return
    _log.info("%s %s: removed the placement group of its workers", stage.kind, stage.id)


def _group_name(stage: PlannedStage) -> str:
    return f"ssl-sweep-{stage.id}"


def meet_by_file(backend: str, path: str) -> TorchConfig:
    """Let the workers of a training find each other by a file, if all are on this machine.

    torch's own meeting point is a server that listens on every interface and asks for no password.

    Args:
        backend: ``nccl`` or ``gloo``.
        path: a file that does not exist yet.
    """
    import ray
    from ray.train.torch import TorchConfig
    from ray.train.torch.config import (
        _set_torch_distributed_env_vars,
        _setup_torch_process_group,
        _TorchBackend,
    )

    class FileBackend(_TorchBackend):
        """Differs from its base only in the address."""

        def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
            worker_group.execute(_set_torch_distributed_env_vars)
            count = len(worker_group)
            facts = {"backend": backend_config.backend, "timeout_s": backend_config.timeout_s}
            facts |= {"world_size": count, "init_method": f"file://{path}"}
            ray.get(
                [
                    worker_group.execute_single_async(i, _setup_torch_process_group, world_rank=i, **facts)
                    for i in range(count)
                ]
            )

    class FileConfig(TorchConfig):
        @property
        def backend_cls(self) -> type[_TorchBackend]:
            return FileBackend

    return FileConfig(backend=backend)
