"""Ray Tune as an executor that is given one training at a time, in a thread of its own.

Tune neither restores nor retries: the store says what is done, and the scheduler decides what comes next. A
search algorithm that suggests the given trainings keeps the trial processes warm between them. This module is
imported late, because planning must not wait for Ray.
"""

from __future__ import annotations

import shutil
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from ssl_sweep.sweep.cluster.internals import keep_credentials_out_of_trials, trial_error
from ssl_sweep.sweep.cluster.nodes import A_BIT, HEAD
from ssl_sweep.sweep.cluster.train import CPU_SHARE, perform
from ssl_sweep.sweep.execution.runtime import Runtime, TrainPlan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.util.scratch import new_scratch

keep_credentials_out_of_trials()

Ended = Callable[[PlannedStage, Any], None]
"""Receives what a trial returned, or the error that ended its process."""


@dataclass(frozen=True)
class Work:
    """What one trial does. Tune shows it by the stage's id."""

    stage: PlannedStage
    plan: TrainPlan

    def __str__(self) -> str:
        return self.stage.id

    __repr__ = __str__


class TuneThread:
    """Tune's endless search. However it ends, ``ended`` is called once for each training that it took."""

    def __init__(self, runtime: Runtime, ended: Ended) -> None:
        self._runtime, self._ended = runtime, ended
        self._feed, self._left = _Feed(), threading.Event()
        self._taken: dict[str, PlannedStage] = {}  # taken, and not passed to `ended` yet
        self._thread = threading.Thread(target=self._run, name="tune", daemon=True)
        self._thread.start()

    def give(self, work: Work) -> bool:
        """Queue a training. False if Tune takes no more."""
        self._taken[work.stage.id] = work.stage
        if not self._feed.give(work):
            self._taken.pop(work.stage.id, None)
            return False
        return True

    def close(self, timeout: float, *, leave: bool = False) -> None:
        """Take no more trainings, and wait up to ``timeout`` seconds for Tune to end.

        ``leave``: abandon the trials that do not stop. Tune must end before the connection to Ray does, or
        Ray ends this process in the middle of a call.
        """
        if leave:
            self._left.set()
        self._feed.close()
        self._thread.join(timeout)

    def _run(self) -> None:
        scratch, error = "", BaseException("Tune ended before this training did")
        try:
            scratch = str(new_scratch("tune"))
            tune.Tuner(
                tune.with_resources(tune.with_parameters(_trial, runtime=self._runtime), _resources),
                tune_config=tune.TuneConfig(search_alg=self._feed, num_samples=-1, reuse_actors=True),
                run_config=tune.RunConfig(
                    storage_path=scratch,
                    name="trials",
                    verbose=0,
                    callbacks=[_Watch(self._pass_on, self._left)],
                    failure_config=tune.FailureConfig(max_failures=0),
                ),
            ).fit()
        except _LeftError:
            self._taken.clear()
        except BaseException as died:
            error = died
        self._feed.close()  # before `ended` is called: it may give the next training to another Tune
        for stage in list(self._taken.values()):
            self._pass_on(stage, error)
        shutil.rmtree(scratch, ignore_errors=True)

    def _pass_on(self, stage: PlannedStage, result: Any) -> None:
        if self._taken.pop(stage.id, None) is not None:
            self._ended(stage, result)


def _trial(config: dict[str, Any], runtime: Runtime) -> dict[str, Any]:
    work = config["training"]
    return {"outcome": perform(work.stage, runtime, work.plan)}


def _resources(config: dict[str, Any]) -> tune.PlacementGroupFactory:
    plan = config["training"].plan
    if not plan.in_process:  # its workers hold theirs; it stays on the head, which is not taken back
        return tune.PlacementGroupFactory([{HEAD: A_BIT}])
    gpus = {"GPU": plan.gpus} if plan.gpus else {}
    return tune.PlacementGroupFactory([{"CPU": plan.cpus * CPU_SHARE} | gpus])


class _Unsaved:
    """Pickled empty: Tune saves its parts to disk when it starts, and nothing reads that here."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Feed(_Unsaved, Searcher):
    """Suggests the trainings that it was given, in that order."""

    def __init__(self) -> None:
        Searcher.__init__(self)
        self._queue: deque[Work] = deque()
        self._live, self._closed = 0, False
        self._news = threading.Condition()

    def give(self, work: Work) -> bool:
        with self._news:
            if not self._closed:
                self._queue.append(work)
                self._news.notify()
            return not self._closed

    def close(self) -> None:
        with self._news:
            self._closed = True
            self._news.notify()

    def suggest(self, trial_id: str) -> Any:
        """Wait while no trial is alive; without that Tune would sleep for a second before it asks again."""
        with self._news:
            while not (self._queue or self._live or self._closed):
                self._news.wait()
            if self._queue:
                self._live += 1
                return {"training": self._queue.popleft()}
            return Searcher.FINISHED if self._closed else None

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        with self._news:
            self._live -= 1

    def save(self, checkpoint_path: str) -> None:
        """Tune needs a file; nothing reads it."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Tune never restores here."""


class _LeftError(BaseException):
    """Ends Tune without waiting for its trials; an ``Exception`` would make it wait."""


class _Watch(_Unsaved, tune.Callback):
    """Passes on how trials end, until they are abandoned."""

    def __init__(self, ended: Ended, left: threading.Event) -> None:
        self._ended, self._left = ended, left

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if self._left.is_set():
            raise _LeftError

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._ended(trial.config["training"].stage, trial.last_result.get("outcome"))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._ended(trial.config["training"].stage, trial_error(trial))
