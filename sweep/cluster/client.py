"""``ssl-sweep run --address ray://HOST:10001``: the driver runs on the head, and its output is shown here.

Ray's client would send every call of Tune and Train over the network, so the program itself is sent instead.
It ends with this connection; ``ssl-sweep submit`` is for sweeps that outlive it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ssl_sweep.sweep.cluster.submission import Submission
from ssl_sweep.sweep.errors import InfeasibleError, first_line
from ssl_sweep.sweep.util.scratch import scratch
from ssl_sweep.sweep.util.signals import stop_on_signal

_log = logging.getLogger(__name__)
_SESSIONS = 3  # attempts to start one
_WAIT_S = 1.0
_STOPPED = 128 + signal.SIGTERM


class Driver:
    """An actor on the head: the command as a process, and its output."""

    def __init__(self, command: list[str], notify: str | None) -> None:
        import ray

        from ssl_sweep.sweep.cluster.internals import remove_worker_flags

        environment = os.environ.copy()
        remove_worker_flags(environment)
        context = ray.get_runtime_context()
        environment["RAY_ADDRESS"] = context.gcs_address
        environment["RAY_JOB_CONFIG_JSON_ENV_VAR"] = json.dumps({"runtime_env": dict(context.runtime_env)})
        if notify:  # not as an argument: every user of the head could read that
            environment["SSL_SWEEP_NOTIFY"] = notify
        self._process = subprocess.Popen(
            [sys.executable, *command[1:]],
            env=environment | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(line)

    def news(self) -> tuple[list[str], int | None]:
        """Wait up to a second for lines. Returns the new lines, and the exit code once there are no more."""
        lines = []
        with contextlib.suppress(queue.Empty):
            lines.append(self._lines.get(timeout=_WAIT_S))
            while True:
                lines.append(self._lines.get_nowait())
        over = not lines and not self._reader.is_alive() and self._lines.empty()
        return lines, self._process.wait() if over else None

    def stop(self) -> None:
        """Stop as Ctrl-C on the head would, by SIGTERM: children of Ray's workers ignore SIGINT."""
        self._process.terminate()


def run_on_head(
    asked: Submission, address: str, show: Callable[[str], None], notify: str | None = None
) -> int:
    """Run the sweep's driver on the head and return its exit code.

    Args:
        asked: the sweep.
        address: ray://HOST:PORT of the client server.
        show: takes each line of the driver's output.
        notify: the command or webhook that the driver notifies when the sweep ends.

    Raises:
        InfeasibleError: no client server answers at ``address``, or the connection is lost.
    """
    from ssl_sweep.sweep.cluster.connect import require_answer

    require_answer(address)
    with scratch("job") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import grpc  # type: ignore[import-untyped]
        import ray
        from ray.exceptions import RayError

        asked.pack(folder)
        _start_session(address, folder)
        try:
            return _watch(asked, show, notify)
        except (ConnectionError, grpc.RpcError, RayError) as error:
            raise InfeasibleError(
                f"the connection to {address!r} is lost: {first_line(error)}. The sweep's driver on the head"
                " ends with it; trainings keep their checkpoints",
                hint="run the same command again to continue, or use `ssl-sweep submit`, which does not need"
                " the connection",
            ) from error
        finally:
            with contextlib.suppress(ConnectionError, grpc.RpcError, RayError):
                ray.shutdown()


def _start_session(address: str, folder: Path) -> None:
    """Connect to the client server, which starts a process for this session.

    The server forks that process while threads of gRPC run in it. On a busy head, the process sometimes dies
    before it runs any code (seen with Ray 2.60). Another attempt gets another process.
    """
    import ray

    from ssl_sweep.sweep.cluster.connect import no_answer

    for attempt in range(1, _SESSIONS + 1):
        try:
            ray.init(
                address,
                runtime_env={"working_dir": str(folder)},
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
            return
        except ConnectionAbortedError as error:  # holds the server's traceback; its last line is the cause
            cause = (str(error).strip() or type(error).__name__).splitlines()[-1]
            if attempt == _SESSIONS:
                raise InfeasibleError(
                    f"the client server at {address!r} started no session in {_SESSIONS} attempts: {cause}",
                    hint="use `ssl-sweep submit`; it only needs the dashboard",
                ) from error
            _log.warning("the client server at %s started no session (%s); trying again", address, cause)
            ray.shutdown()
        except Exception as error:  # from Ray's client, its gRPC channel or its server
            raise no_answer("client server", address, error, heard=True) from error


def _watch(asked: Submission, show: Callable[[str], None], notify: str | None) -> int:
    import ray

    from ssl_sweep.sweep.cluster.nodes import A_BIT, HEAD

    actor: Any = ray.remote(num_cpus=0, resources={HEAD: A_BIT}, max_concurrency=2)(Driver)
    stopping = False
    with stop_on_signal(lambda: None, lambda: None) as stop:
        driver = actor.remote(asked.command, notify)
        while True:
            lines, code = ray.get(driver.news.remote())
            for line in lines:
                show(line)
            if code is not None:
                return code if stop.signal is None or code != _STOPPED else 128 + stop.signal
            if stop.signal is not None and not stopping:
                stopping = True
                ray.get(driver.stop.remote())
