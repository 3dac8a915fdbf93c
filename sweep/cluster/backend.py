"""The Ray back end: trainings as Tune trials, light stages as Ray tasks. Their outcomes arrive in a queue."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from ssl_sweep.sweep.cluster.connect import connect
from ssl_sweep.sweep.cluster.internals import draining_nodes, remove_group
from ssl_sweep.sweep.cluster.nodes import gone_nodes, nodes_now, require_shared_store, resources, with_loss
from ssl_sweep.sweep.cluster.train import CPU_SHARE
from ssl_sweep.sweep.errors import first_line
from ssl_sweep.sweep.execution.backend import Backend, Cluster, Outcome
from ssl_sweep.sweep.execution.capacity import Capacity
from ssl_sweep.sweep.execution.failures import failure_from_afar, failure_of
from ssl_sweep.sweep.execution.runtime import Runtime, TrainPlan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.stages.perform import perform_light

if TYPE_CHECKING:
    from ssl_sweep.sweep.cluster.trials import TuneThread

_log = logging.getLogger(__name__)

# Light stages take less of a CPU than trainings leave: a trial's driver needs a little too, else the next
# training would wait for a probe to end. `light_slots` limits how many are in flight.
_LIGHT_CPUS = (1.0 - CPU_SHARE) / 2
# Features and probes on a GPU take a part of it, so that not all of them land on the first GPU.
_LIGHT_GPUS = 0.25
_ROUNDING = 1e-6
_COUNT_EVERY_S = 5.0  # nodes come and go within minutes
_TUNE_ENDS_S = 30.0  # how long to wait for Tune to end
_TUNE_RESTS_S = 10.0  # how long Tune may be idle on a cluster, where it keeps nodes from going


class RayWorkplace:
    """A private Ray on this machine, or the cluster at an address."""

    def join(self, address: str | None) -> AbstractContextManager[Cluster]:
        return connect(address)

    def require_shared(self, root: Path) -> None:
        require_shared_store(root)

    def backend(self, runtime: Runtime, cluster: Cluster, plans: Mapping[str, TrainPlan]) -> Backend:
        return RayBackend(runtime, cluster, plans)


class RayBackend:
    """Runs stages on the connected cluster. One instance per run.

    Tune's thread and Ray's threads call ``_trial_ended`` and ``_outcomes``. These only read ``_plans`` and
    ``_gone``, whose entries are written before the work starts, and put outcomes into ``_ended``. All other
    state belongs to the scheduler's thread.
    """

    def __init__(self, runtime: Runtime, cluster: Cluster, plans: Mapping[str, TrainPlan]) -> None:
        import ray

        self._runtime, self._cluster, self._plans = runtime, cluster, plans
        self._store = runtime.open_store()
        self._light = ray.remote(num_cpus=_LIGHT_CPUS, max_retries=0)(perform_light)
        # On one machine without GPUs, light stages and trainings take turns. Together they would share the
        # cores, and a training would take longer than predicted.
        self._turns = cluster.private and not runtime.gpu
        self._pieces: list[Future[list[Outcome]]] = []  # light work in flight; some may be done
        self._on_gpu = self._light.options(num_gpus=_LIGHT_GPUS)
        # scikit-learn computes on torch tensors if this is set before SciPy is imported
        self._on_tensors = self._light.options(
            num_gpus=_LIGHT_GPUS if runtime.probe_device == "cuda" else 0,
            runtime_env={"env_vars": {"SCIPY_ARRAY_API": "1"}},
        )
        self._ended: SimpleQueue[list[Outcome]] = SimpleQueue()  # filled by Tune's thread and by Ray's
        self._trainings: dict[str, PlannedStage] = {}
        self._gone: dict[str, frozenset[str] | None] = {}  # by stage: nodes lost before it started
        self._tune: TuneThread | None = None
        self._trained = self._watched = 0.0
        self._drained: frozenset[str] = frozenset()  # nodes that were seen draining
        self._capacity, self._have, self._counted = cluster.capacity, resources(), time.monotonic()

    def room_for(self, stage: PlannedStage) -> bool:
        """Whether the cluster can hold this training too, at its largest.

        An autoscaler acts on trainings that wait, so as many may wait as it could ever serve. If the largest
        size is unknown, one waits.
        """
        running = self._running()
        light = sum(not piece.done() for piece in self._pieces) if self._turns else 0
        if not running and not light:
            return True
        plans = [*running, self._plans[stage.id]]
        capacity, have = self._now()
        if capacity is not None:
            taken = sum(_part(plan, capacity) for plan in plans) + light / capacity.cpus
            return taken <= 1.0 + _ROUNDING
        need = (sum(p.cpus * p.fewest for p in running), sum(p.gpus * p.fewest for p in running))
        return all(n <= h + _ROUNDING for n, h in zip(need, have, strict=True))

    def _running(self) -> list[TrainPlan]:
        return [self._plans[id] for id in self._trainings]

    def _now(self) -> tuple[Capacity | None, tuple[float, float]]:
        """What the cluster can become, and its CPUs and GPUs now; nodes of a joined cluster come and go."""
        if not self._cluster.private and time.monotonic() - self._counted > _COUNT_EVERY_S:
            self._counted, self._have = time.monotonic(), resources()
            if self._capacity is not None and not self._capacity.most_scaled:
                self._capacity = nodes_now()
        return self._capacity, self._have

    def train(self, stage: PlannedStage) -> None:
        from ssl_sweep.sweep.cluster.trials import TuneThread, Work

        self._trainings[stage.id] = stage
        self._gone[stage.id] = self._gone_by_now()
        work = Work(stage, self._plans[stage.id])
        if self._tune is None or not self._tune.give(work):
            if self._tune is not None:
                self._tune.close(_TUNE_ENDS_S)
            self._tune = TuneThread(self._runtime, self._trial_ended)
            self._tune.give(work)

    def _trial_ended(self, stage: PlannedStage, result: Any) -> None:
        """Called in Tune's thread with the outcome, or with the error that ended the trial's process."""
        if not self._plans[stage.id].in_process:
            try:
                remove_group(stage)
            except Exception as error:  # from Ray; the outcome still counts
                _log.info("%s %s: its placement group stays: %s", stage.kind, stage.id, first_line(error))
        outcome = result if isinstance(result, Outcome) else self._lost(stage, result)
        self._ended.put([self._with_loss(outcome)])

    def _with_loss(self, outcome: Outcome) -> Outcome:
        """The outcome, with the loss of a node as the cause if there was one; a worker sees only that the
        connection to its peer broke."""
        if outcome.failure is None:
            return outcome
        try:
            gone = self._gone[outcome.stage_id]
            return replace(outcome, failure=with_loss(outcome.failure, gone, self._drained))
        except Exception as error:  # the head is gone; raised in a thread, the error would be lost
            _log.info("%s: the nodes cannot be checked: %s", outcome.stage_id, first_line(error))
            return outcome

    def submit(self, stages: Sequence[PlannedStage]) -> None:
        future = self._task(stages).remote(tuple(stages), self._runtime).future()
        self._gone |= dict.fromkeys((stage.id for stage in stages), self._gone_by_now())
        self._pieces = [piece for piece in self._pieces if not piece.done()] + [future]
        future.add_done_callback(lambda done: self._ended.put(self._outcomes(stages, done)))

    def _task(self, stages: Sequence[PlannedStage]) -> Any:
        if self._runtime.gpu and stages[0].kind == "features":
            return self._on_gpu
        if self._runtime.probe_device != "cpu" and any(stage.fits_on_gpu for stage in stages):
            return self._on_tensors
        return self._light

    def _gone_by_now(self) -> frozenset[str] | None:
        """The nodes lost by now; None on a private Ray, which has one node and does not outlive it."""
        return None if self._cluster.private else gone_nodes()

    def _outcomes(self, stages: Sequence[PlannedStage], done: Future[list[Outcome]]) -> list[Outcome]:
        """The task's outcomes. If its process died, what it had committed counts."""
        error = done.exception()
        if error is None:
            return done.result()
        lost = [self._with_loss(self._lost(stage, error)) for stage in stages]
        return [replace(outcome, together=len(lost) > 1) for outcome in lost]

    def _lost(self, stage: PlannedStage, error: Any) -> Outcome:
        if not isinstance(error, BaseException):
            error = RuntimeError(f"a trial returned {error!r}")
        _log.info("%s %s: its process is lost: %s", stage.kind, stage.id, first_line(error))
        try:
            if self._store.complete(stage.kind, stage.id):
                return Outcome(stage.id, "complete")
            failure = failure_from_afar(error, stage, self._store)
        except Exception as unreachable:  # from the store or Ray; raised in a thread, it would be lost
            failure = failure_of(unreachable)
        return Outcome(stage.id, "failed", failure)

    def poll(self, timeout: float) -> list[Outcome]:
        self._rest()
        self._watch_drains()
        try:
            outcomes = self._ended.get(timeout=timeout)
            while not self._ended.empty():
                outcomes = outcomes + self._ended.get()
        except Empty:
            return []
        for outcome in outcomes:
            if self._trainings.pop(outcome.stage_id, None) is not None:
                self._trained = time.monotonic()
        return outcomes

    def _watch_drains(self) -> None:
        """Remember which nodes were draining: Ray forgets that as soon as they are gone."""
        now = time.monotonic()
        if self._cluster.private or now - self._watched < _COUNT_EVERY_S:
            return
        self._watched = now
        try:
            new = draining_nodes() - self._drained
        except Exception as error:  # the head does not answer; the next call asks again
            _log.info("the draining nodes are unknown: %s", first_line(error))
            return
        for node in sorted(new):
            _log.info("node %s is draining: it will be taken back", node)
        self._drained |= new

    def _rest(self) -> None:
        """End an idle Tune on a cluster: its waiting processes would keep their nodes from being released."""
        idle = time.monotonic() - self._trained > _TUNE_RESTS_S
        if self._tune is not None and not self._trainings and idle and not self._cluster.private:
            _log.debug("Tune is idle and ends")
            self._tune.close(timeout=0.0)

    @property
    def light_slots(self) -> int:
        cpus = self._now()[1][0]
        if not self._turns:
            return max(2, int(cpus))
        running = self._running()
        free = cpus - sum(plan.cpus * plan.fewest for plan in running)
        return max(0 if running else 1, int(free + _ROUNDING))

    def close(self) -> None:
        """End Tune, or abandon its trainings if some still run; they end with the connection to Ray."""
        if self._tune is not None:
            self._tune.close(_TUNE_ENDS_S, leave=bool(self._trainings))


def _part(plan: TrainPlan, capacity: Capacity) -> float:
    """The share of the cluster, at its largest, that one training takes."""
    return plan.fewest / max(1, capacity.workers(plan.cpus, plan.gpus))
