"""Run a sweep as a job of a Ray cluster, by its dashboard's address, and follow it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator

from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from ssl_sweep.sweep.cluster.connect import no_answer, require_listener
from ssl_sweep.sweep.cluster.internals import quiet_job_client
from ssl_sweep.sweep.cluster.submission import Submission
from ssl_sweep.sweep.errors import InfeasibleError, UsageError, first_line
from ssl_sweep.sweep.util.addresses import malformed, proxy_for
from ssl_sweep.sweep.util.scratch import scratch

Say = Callable[[str], None]
_AGAIN_S = 2.0
_PATIENCE_S = 600.0  # how long the cluster may not answer
_LOOK_S = 15.0  # between two looks at the store in that time
_TROUBLE = (RuntimeError, OSError)  # from Ray's client; requests and aiohttp raise OSErrors
_ADDRESSES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")  # Ray would prefer these to its argument
INTERRUPTED = 130


class Jobs:
    """The jobs of one cluster.

    Raises:
        UsageError: the address is not that of a dashboard.
        InfeasibleError: nothing answers there.
    """

    def __init__(self, address: str) -> None:
        if not address.startswith(("http://", "https://")):
            raise UsageError(
                f"{address!r} is not the address of a dashboard",
                hint="give http://HOST:8265; ray:// and HOST:PORT addresses are for ssl-sweep run",
            )
        self._address = address
        if malformed(address) or not proxy_for(address):
            require_listener("dashboard", address)
        quiet_job_client()
        try:
            with _without(_ADDRESSES):
                self._client = JobSubmissionClient(address)
        except Exception as error:  # a ConnectionError; a RuntimeError if aiohttp is missing
            raise no_answer("dashboard", address, error) from error

    def running(self, asked: Submission) -> str | None:
        """The id of the sweep's job that runs or waits, or None."""
        return next((id for id, status in self._known(asked).items() if not status.is_terminal()), None)

    def start(self, asked: Submission) -> str:
        """Start the sweep and return the job's id."""
        id = asked.next_id(self._known(asked))
        with scratch("job") as folder:
            asked.pack(folder)
            try:
                self._client.submit_job(
                    entrypoint=asked.line,
                    submission_id=id,
                    runtime_env={
                        "working_dir": str(folder),
                        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(asked.stop_wait_s)},
                    },
                )
            except _TROUBLE as error:
                if "already exists" in str(error):  # another machine submitted it first
                    return id
                raise InfeasibleError(f"the cluster refused the job: {first_line(error)}") from error
        return id

    def stop(self, id: str) -> None:
        try:
            self._client.stop_job(id)
        except _TROUBLE as error:
            raise no_answer("dashboard", self._address, error) from error

    def details(self, id: str) -> JobDetails:
        return self._client.get_job_info(id)

    def tail(self, id: str):  # type: ignore[no-untyped-def]
        return self._client.tail_job_logs(id)

    def _known(self, asked: Submission) -> dict[str, JobStatus]:
        """Every job of this sweep, by id."""
        try:
            listed = self._client.list_jobs()
        except _TROUBLE as error:
            raise no_answer("dashboard", self._address, error) from error
        return {job.submission_id: job.status for job in listed if asked.number(job.submission_id or "")}


def follow(
    jobs: Jobs, asked: Submission, id: str, show: Callable[[str], None], say: Say
) -> JobDetails | None:
    """Show the job's log until it ends, across broken connections.

    Returns None if the cluster stops answering: after ten minutes, or as soon as the store has every cell.
    """
    shown, warned = 0, False
    answered = looked = time.monotonic()
    while True:
        try:
            shown, warned = max(shown, asyncio.run(_show(jobs, id, shown, show))), False
        except _Broken as broken:
            shown = broken.shown
            if not warned:
                say(f"the connection to the job's log broke ({broken}); trying again")
            warned = True
        try:
            details = jobs.details(id)
            answered = time.monotonic()
            if details.status.is_terminal():
                return details
        except _TROUBLE as error:
            now = time.monotonic()
            if now - answered > _PATIENCE_S:
                say(f"the cluster has not answered for {_PATIENCE_S / 60:.0f} minutes: {first_line(error)}")
                say("the sweep may still run; the same command attaches to it again")
                return None
            if now - looked > _LOOK_S:
                looked = now
                if asked.verdict()[0] == 0:
                    return None
        time.sleep(_AGAIN_S)


class _Broken(Exception):
    """The log's stream broke after ``shown`` characters."""

    def __init__(self, error: Exception, shown: int) -> None:
        super().__init__(first_line(error))
        self.shown = shown


async def _show(jobs: Jobs, id: str, shown: int, show: Callable[[str], None]) -> int:
    """Show the log from character ``shown`` on, since every stream starts at the beginning of the log.

    Returns the number of characters shown so far.
    """
    passed = 0
    try:
        async for chunk in jobs.tail(id):
            _heed_interrupt()
            fresh = chunk[max(0, shown - passed) :]
            passed += len(chunk)
            if fresh:
                show(fresh)
    except Exception as error:
        _heed_interrupt()
        if not isinstance(error, _TROUBLE) and not type(error).__module__.startswith("aiohttp"):
            raise
        raise _Broken(error, max(shown, passed)) from error
    return passed


def _heed_interrupt() -> None:
    """Stop after Ctrl-C. It cancels the task, but ``asyncio.wait_for`` swallows that if data arrives at the
    same moment; the task still knows."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


@contextlib.contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def exit_code(asked: Submission, details: JobDetails | None, say: Say) -> int:
    """The exit code by the store; by the job if cells are missing or the store cannot be read from here."""
    code, line = asked.verdict()
    say(line)
    if details is not None and details.status == JobStatus.STOPPED and code != 0:
        return INTERRUPTED
    if code is not None:
        return code
    if details is None:
        return 1
    say(f"state of the job: {details.status.value.lower()}")
    if details.status == JobStatus.SUCCEEDED:
        return 0
    return details.driver_exit_code or 1
