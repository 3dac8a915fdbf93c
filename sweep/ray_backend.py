"""The Ray back end: trainings as Tune trials, light stages as Ray tasks, both watched through the store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sweep.backend import Backend, Cluster, Outcome
from sweep.errors import first_line
from sweep.manifest import Failure
from sweep.nodes import Node
from sweep.ray_cluster import connect, require_shared_store
from sweep.ray_train import CPU_SHARE, run_tune
from sweep.runtime import Runtime, TrainPlan
from sweep.stages import perform_light

# Light stages hold less than the trainings leave of a CPU: a trial's driver needs a little too, and without
# it the next training would wait for a probe to end. How many are in flight is bounded by light_slots.
_LIGHT_CPUS = (1.0 - CPU_SHARE) / 2
# Features on a GPU take a part of one, so that not all of them land on the first.
_LIGHT_GPUS = 0.25
# A light task whose worker process dies (out of memory, a lost node) is started again this many times.
_LIGHT_RETRIES = 2

_LOOK_EVERY_S = 1.0  # at the trainings in an object store, which takes a request for each


class RayWorkplace:
    """A private Ray on this machine, or a cluster by its address."""

    def join(self, address: str | None) -> AbstractContextManager[Cluster]:
        return connect(address)

    def require_shared(self, root: Path) -> None:
        require_shared_store(root)

    def backend(self, runtime: Runtime, cluster: Cluster, plans: Mapping[str, TrainPlan]) -> Backend:
        return RayBackend(runtime, cluster, plans)


class RayBackend:
    """Runs stages on the connected cluster. One instance per run."""

    def __init__(self, runtime: Runtime, cluster: Cluster, plans: Mapping[str, TrainPlan]) -> None:
        import ray

        self._runtime, self._cluster, self._plans = runtime, cluster, dict(plans)
        self._store = runtime.open_store()
        self._light = ray.remote(num_cpus=_LIGHT_CPUS, max_retries=_LIGHT_RETRIES)(perform_light)
        self._on_gpu = self._light.options(num_gpus=_LIGHT_GPUS)
        self._tasks: dict[Any, tuple[Node, ...]] = {}
        self._trainings: dict[str, Node] = {}  # not ended yet, in the order in which Tune starts them
        self._at_once = 0
        self._looked_at = 0.0
        self._started: set[str] = set()
        self._tune: threading.Thread | None = None
        self._tune_error: BaseException | None = None

    def train(self, nodes: Sequence[Node]) -> None:
        """Start Tune in a thread of its own: ``fit`` blocks, and the loop above has features to start."""
        if self._tune is not None:
            self._tune.join()  # the last lot's trials have ended, its thread nearly so
        self._trainings = {node.id: node for node in nodes}
        self._at_once = concurrent_trainings(self._cluster, [self._plans[node.id] for node in nodes])

        def fit() -> None:
            try:
                run_tune(nodes, self._runtime, self._plans, self._at_once)
            except BaseException as error:
                self._tune_error = error

        self._tune = threading.Thread(target=fit, name="tune", daemon=True)
        self._tune.start()

    def submit(self, nodes: Sequence[Node]) -> None:
        light = self._on_gpu if self._runtime.gpu and nodes[0].stage == "features" else self._light
        reference = light.remote(tuple(nodes), self._runtime)
        self._tasks[reference] = tuple(nodes)

    def poll(self, timeout: float) -> list[Outcome]:
        import ray

        outcomes = self._ended_trainings()
        if self._tasks:
            done, _ = ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
            if not done and not outcomes:
                done, _ = ray.wait(list(self._tasks), timeout=timeout)
            for reference in done:
                outcomes += self._collect(reference, self._tasks.pop(reference))
        elif not outcomes:
            time.sleep(timeout)
        return outcomes

    def _collect(self, reference: Any, nodes: tuple[Node, ...]) -> list[Outcome]:
        import ray

        try:
            outcomes: list[Outcome] = ray.get(reference)
            return outcomes
        except ray.exceptions.RayTaskError as error:
            return [self._settle(node, first_line(error.cause)) for node in nodes]
        except ray.exceptions.RayError as error:
            # The process died under the task: what it committed counts, the rest failed with it.
            text = f"the worker process died: {first_line(error)}"
            return [self._settle(node, text) for node in nodes]

    def _ended_trainings(self) -> list[Outcome]:
        """Trainings that left a manifest or an error in the store since the last look."""
        over = self._tune is not None and not self._tune.is_alive()
        now = time.monotonic()
        if self._store.remote and not over and now - self._looked_at < _LOOK_EVERY_S:
            return []
        self._looked_at = now
        outcomes = []
        for node in list(self._trainings.values()):
            if self._store.complete(node.stage, node.id):
                outcomes.append(Outcome(node.id, "complete"))
            elif (failure := self._store.failure(node.stage, node.id)) is not None:
                outcomes.append(Outcome(node.id, "failed", failure.message))
            elif over and self._runtime.stop_requested():
                outcomes.append(Outcome(node.id, "interrupted"))
            elif over:
                reason = f"Ray Tune ended without it: {self._tune_error or 'its process died'}"
                outcomes.append(self._settle(node, reason))
        for outcome in outcomes:
            del self._trainings[outcome.node_id]
        started = list(self._trainings)[: self._at_once]
        outcomes += [Outcome(id, "running") for id in started if id not in self._started]
        self._started.update(started)
        return outcomes

    def _settle(self, node: Node, message: str) -> Outcome:
        if self._store.complete(node.stage, node.id):
            return Outcome(node.id, "complete")
        if self._runtime.stop_requested():
            return Outcome(node.id, "interrupted")
        self._store.fail(node.stage, node.id, Failure(kind="worker_error", message=message))
        return Outcome(node.id, "failed", message)

    @property
    def light_slots(self) -> int:
        return max(2, int(self._cluster.cpus))

    def close(self) -> None:
        """Wait for Tune's thread, which ends by itself once its trials have."""
        if self._tune is not None:
            self._tune.join(timeout=30)


def concurrent_trainings(cluster: Cluster, plans: Sequence[TrainPlan]) -> int:
    """How many trainings the cluster holds at once, by its scarcest resource and the largest training.

    Tune's trials hold next to nothing while Train's workers hold their own placement groups, so nobody
    else bounds them: unbounded, half-started groups would wait for one another for ever.
    """

    def fits(have: float, need: Callable[[TrainPlan], float]) -> int:
        largest = max((need(plan) * plan.workers for plan in plans), default=0.0)
        return int(have / largest + 1e-6) if largest else len(plans)

    by_resource = min(fits(cluster.cpus, lambda p: p.cpus), fits(cluster.gpus, lambda p: p.gpus))
    return max(1, by_resource)
