"""`ssl-sweep run --address ray://HOST:10001`: the driver runs on the head, its lines are shown here.

Ray's client would send every call of Tune and Train over the wire; the program itself is sent instead. It
ends when this connection does; `ssl-sweep submit` is for what should go on without it.
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
from typing import Any

from ssl_sweep.sweep.cluster.submission import Submission
from ssl_sweep.sweep.errors import InfeasibleError, first_line
from ssl_sweep.sweep.util.scratch import scratch
from ssl_sweep.sweep.util.signals import stop_on_signal

_WAIT_S = 1.0
_STOPPED = 128 + signal.SIGTERM


class Driver:
    """On the head: the command as a process, and its lines."""

    def __init__(self, command: list[str], notify: str | None) -> None:
        import ray
        from ray._private.utils import remove_ray_internal_flags_from_env

        environment = os.environ.copy()
        remove_ray_internal_flags_from_env(environment)
        context = ray.get_runtime_context()
        environment["RAY_ADDRESS"] = context.gcs_address
        environment["RAY_JOB_CONFIG_JSON_ENV_VAR"] = json.dumps({"runtime_env": dict(context.runtime_env)})
        if notify:  # not an argument, which everybody on the head could read
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
        """The lines since the last call, waited for a second, and the exit code once there are no more."""
        lines = []
        with contextlib.suppress(queue.Empty):
            lines.append(self._lines.get(timeout=_WAIT_S))
            while True:
                lines.append(self._lines.get_nowait())
        over = not lines and not self._reader.is_alive() and self._lines.empty()
        return lines, self._process.wait() if over else None

    def stop(self) -> None:
        """As Ctrl-C on the head would; Ray's workers block SIGINT, and what they start inherits that."""
        self._process.terminate()


def run_on_head(
    asked: Submission, address: str, show: Callable[[str], None], notify: str | None = None
) -> int:
    """The exit code of the sweep's driver on the head, which tells `notify` how it ended.

    Raises:
        InfeasibleError: no client server answers at `address`, or it answers no more.
    """
    from ssl_sweep.sweep.cluster.connect import no_answer, require_answer

    require_answer(address)
    with scratch("job") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import grpc  # type: ignore[import-untyped]
        import ray
        from ray.exceptions import RayError

        asked.pack(folder)
        try:
            ray.init(
                address,
                runtime_env={"working_dir": str(folder)},
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        except ConnectionAbortedError as error:  # with the server's traceback, whose last line is the cause
            raise InfeasibleError(
                f"the client server at {address!r} starts no session: {str(error).strip().splitlines()[-1]}",
                hint="again may do; else ssl-sweep submit, which needs the dashboard alone",
            ) from error
        except Exception as error:  # Ray's client raises what its gRPC channel, its server or itself raises
            raise no_answer("client server", address, error, heard=True) from error
        try:
            return _watch(asked, show, notify)
        except (ConnectionError, grpc.RpcError, RayError) as error:
            raise InfeasibleError(
                f"the connection to {address!r} is lost: {first_line(error)}; the sweep's driver on the head"
                " ends with it, and trainings keep their checkpoints",
                hint="the same command goes on; ssl-sweep submit is for what should outlive its connection",
            ) from error
        finally:
            with contextlib.suppress(ConnectionError, grpc.RpcError, RayError):
                ray.shutdown()


def _watch(asked: Submission, show: Callable[[str], None], notify: str | None) -> int:
    import ray

    from ssl_sweep.sweep.cluster.connect import A_BIT, HEAD

    actor: Any = ray.remote(num_cpus=0, resources={HEAD: A_BIT}, max_concurrency=2)(Driver)
    told = False
    with stop_on_signal(lambda: None, lambda: None) as stop:
        driver = actor.remote(asked.command, notify)
        while True:
            lines, code = ray.get(driver.news.remote())
            for line in lines:
                show(line)
            if code is not None:
                return code if stop.signal is None or code != _STOPPED else 128 + stop.signal
            if stop.signal is not None and not told:
                told = True
                ray.get(driver.stop.remote())
