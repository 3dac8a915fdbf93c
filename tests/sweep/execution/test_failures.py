"""Which kind an error is, how often each kind is tried again, and what is kept of it."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.execution.failures import (
    RETRIES,
    Attempts,
    StageFailed,
    backoff_s,
    death,
    failure_from_afar,
    failure_of,
    keep,
    kind_of,
)
from ssl_sweep.sweep.store.log import StageLog
from ssl_sweep.sweep.store.manifest import Failure


def raised(function) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def write_full() -> None:
    Path("/dev/full").write_text("x")


def save_to_full() -> None:
    import torch

    torch.save({"x": torch.zeros(100_000)}, "/dev/full")


def too_large() -> None:
    import numpy as np

    np.empty(2**50)


def too_large_tensor() -> None:
    import torch

    torch.empty(2**50)


def store_full() -> None:
    try:
        write_full()
    except OSError as error:
        raise StoreError("the checkpoint cannot be kept") from error


def bad_data() -> None:
    try:
        raise DataError("3.png is damaged")
    except DataError as error:
        raise RuntimeError("the pool cannot be opened") from error


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (write_full, "disk_full"),
        (save_to_full, "disk_full"),
        (store_full, "disk_full"),
        (too_large, "oom"),
        (too_large_tensor, "oom"),
        (bad_data, "data"),
        (lambda: Path("/proc/self/mem").read_bytes(), "store"),  # an input/output error
        (lambda: {}["x"], "worker_error"),
    ],
)
def test_the_kind_of_a_real_error(function, kind):
    if kind == "disk_full" and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    assert kind_of(raised(function)) == kind


def actor_died(preempted: bool = False, message: str = "killed") -> Exception:
    from ray.core.generated.common_pb2 import ActorDiedErrorContext, NodeDeathInfo
    from ray.exceptions import ActorDiedError

    context = ActorDiedErrorContext(actor_id=b"0" * 16, error_message=message)
    if preempted:
        context.node_death_info.reason = NodeDeathInfo.AUTOSCALER_DRAIN_PREEMPTED
    return ActorDiedError(context)


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (KeyError("epochs"), "KeyError: 'epochs'"),
        (ValueError("the shape\nis wrong"), "ValueError: the shape"),
        (RuntimeError(), "RuntimeError"),
        (StoreError("a message of our own"), "a message of our own"),
        (None, "ZeroDivisionError: division by zero"),  # an error that cannot be sent
    ],
)
def test_what_ray_wraps_is_named_by_its_cause(cause, message):
    from ray.exceptions import RayTaskError

    colours = "\x1b[36mray::perform_light()\x1b[39m (pid=7, ip=192.0.2.2)\n  File x\n"
    wrapped = RayTaskError("perform_light", f"{colours}ZeroDivisionError: division by zero\n", cause)
    for error in (wrapped, wrapped.as_instanceof_cause() if cause else wrapped):
        failure = failure_of(error)
        assert failure.message == message
        assert "\x1b" not in failure.log_tail and "perform_light" in failure.log_tail


def test_the_kinds_of_what_ray_reports(sweeps):
    from ray.exceptions import NodeDiedError, OutOfMemoryError, RayTaskError, WorkerCrashedError
    from ray.train import WorkerGroupError

    stage = sweeps.plan().stages[0]
    own = StageFailed(Failure(kind="data", message="3.png is damaged", log_tail="where"))
    connection = StageFailed(Failure(kind="worker_error", message="connection closed by peer"))
    cases = [
        (actor_died(), "worker_error", "the worker process died"),
        (actor_died(preempted=True), "preempted", "its node was taken back"),
        (actor_died(message="The actor died because its node has died."), "node_lost", "its node died"),
        (NodeDiedError("gone"), "node_lost", "its node died"),
        (OutOfMemoryError("the node is running low on memory"), "oom", "out of memory"),
        (WorkerCrashedError(), "worker_error", "the worker process died"),
        (RayTaskError("f", "trace", DataError("3.png is damaged")), "data", "3.png is damaged"),
        (WorkerGroupError("", {0: connection, 1: own}), "data", "3.png is damaged"),
        (WorkerGroupError("", {0: connection, 1: actor_died()}), "worker_error", "the worker process died"),
        (WorkerGroupError("", {0: connection, 1: actor_died(True)}), "preempted", "its node was taken back"),
    ]
    for error, kind, message in cases:
        failure = failure_from_afar(error, stage, sweeps.store)
        assert (failure.kind, failure.message.partition(":")[0]) == (kind, message), repr(error)
    assert failure_of(own) == own.failure, "what was seen where it happened is not described anew"


@pytest.mark.parametrize(("kind", "budget"), RETRIES.items())
def test_each_kind_is_tried_again_as_often_as_its_budget(kind, budget):
    attempts = Attempts(None)
    further = 0
    while not attempts.after(Failure(kind=kind, message="x")).final and further < 100:
        further += 1
    assert further == (100 if math.isinf(budget) else budget)


def test_kinds_have_budgets_of_their_own_and_attempts_are_counted_together():
    attempts = Attempts(None)
    kinds = ["worker_error", "preempted", "worker_error", "hang", "preempted", "hang"]
    records = [attempts.after(Failure(kind=kind, message="x")) for kind in kinds]
    assert [record.final for record in records] == [False, False, False, False, False, True]
    assert records[-1].attempt == 6
    assert records[-1].attempts == {"worker_error": 2, "preempted": 2, "hang": 2}
    waits = [backoff_s(record) for record in records]
    assert (
        waits == sorted(waits)
        and 0 < waits[0] <= 2
        and backoff_s(Failure(kind="preempted", message="x", attempts={"preempted": 1000})) <= 60
    )


def test_a_killed_run_has_used_attempts_and_a_finished_one_begins_afresh():
    before = Failure(kind="hang", message="x", attempt=3, attempts={"hang": 1}, final=False)
    again = Attempts(before).after(Failure(kind="hang", message="x"))
    assert (again.attempt, again.final) == (4, True)
    afresh = Attempts(again).after(Failure(kind="hang", message="x"))
    assert (afresh.attempt, afresh.attempts, afresh.final) == (5, {"hang": 1}, False)


def test_a_record_that_cannot_be_written_is_said_and_not_raised(sweeps):
    stage = sweeps.plan().stages[0]
    failure = failure_of(raised(bad_data))
    assert keep(sweeps.store, stage, failure) == ""
    kept = sweeps.store.failure(stage.kind, stage.id)
    assert (kept.kind, kept.message) == ("data", "3.png is damaged")
    assert "bad_data" in kept.log_tail and kept.hardware
    sweeps.store.clear_failure(stage.kind, stage.id)
    folder = sweeps.store.path(stage.kind, stage.id)
    folder.rmdir()
    folder.touch()  # a file where a folder is wanted
    assert "error.json" in keep(sweeps.store, stage, failure)


WATCHED = """
import sys, threading, time
from pathlib import Path
from ssl_sweep.sweep.stages.watchdog import Watchdog
log, start_s, steps = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
with Watchdog(log, 1.0, start_s) as watchdog:
    for _ in range(steps):
        time.sleep(0.25)
        watchdog.progress()
    print("no more progress", flush=True)
    def stuck(): threading.Event().wait()
    stuck()
"""


def watched(log: Path, start_s: float, steps: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WATCHED, str(log), str(start_s), str(steps)]
    root = Path(__file__).parents[3]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)


def test_a_process_without_progress_is_ended_and_leaves_its_stacks(sweeps):
    stage = sweeps.plan().stages[0]
    log = StageLog(sweeps.store.path(stage.kind, stage.id))
    log.started("an attempt")
    ended = watched(log.path, 1.0, steps=8)
    assert ended.returncode == 1
    assert "no more progress" in ended.stdout, "it was ended while it made progress"
    failure = death(stage, sweeps.store, "exit code 1")
    assert failure.kind == "hang" and "in stuck" in failure.log_tail
    log.started("the next attempt")
    assert death(stage, sweeps.store, "exit code -9").kind == "worker_error", (
        "an old hang was taken for a new"
    )


def test_the_first_step_may_take_longer(tmp_path):
    with pytest.raises(subprocess.TimeoutExpired):
        command = [sys.executable, "-c", WATCHED, str(tmp_path / "log.txt"), "3600", "0"]
        subprocess.run(command, cwd=Path(__file__).parents[3], timeout=3, stdout=subprocess.DEVNULL)


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "stage").touch()
    log = StageLog(tmp_path / "stage")
    log.started("an attempt")
    log.error(ValueError("x"))
    assert log.tail(100) == "" and log.hang() == ""
