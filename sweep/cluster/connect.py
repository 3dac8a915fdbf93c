"""Connect to Ray: a private instance on this machine, or an existing cluster."""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from ssl_sweep.data_ops.errors import remedy
from ssl_sweep.sweep.cluster.nodes import alive_nodes, require_same_program, resources
from ssl_sweep.sweep.errors import InfeasibleError, UsageError, first_line
from ssl_sweep.sweep.execution.backend import Cluster
from ssl_sweep.sweep.util.addresses import malformed, proxy_for
from ssl_sweep.sweep.util.cores import cores
from ssl_sweep.sweep.util.search_path import for_workers

_log = logging.getLogger(__name__)

# Ray reads these when it is imported or when a process starts, so they are set first.
# The polling interval is how long a finished training waits to be noticed. The metrics and the preemption
# watcher are processes that a training of a minute pays for and never uses: deaths on a node show its loss.
_ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # else a call after the end would start another instance
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # No limit: an autoscaler acts on what waits, and Tune would show it one trial at a time.
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",
}
# A private instance listens on 127.0.0.1 only. Ray does that by default on macOS and Windows, which explains
# the name of the switch; on Linux it would listen on 0.0.0.0.
_ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
if sys.platform == "linux":  # the workers of one training meet there too
    _ON_LOOPBACK |= {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
# Stages pass files through the store, never objects through Ray, so the object store stays small.
_OBJECT_STORE_BYTES = 256 * 1024**2
_KNOCK_S = 5.0
# The path of a Unix socket has at most 107 bytes. Below its folder, Ray adds up to 65:
# /session_2026-12-01_08-08-53_723660_4194304/sockets/plasma_store
_RAY_FOLDER_BYTES = 107 - 65
_SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")

CLIENT = "ray://"
"""The scheme of an address of Ray's client server."""


@contextmanager
def connect(address: str | None) -> Iterator[Cluster]:
    """Join the cluster at ``address`` (``auto``, ``host:port``), or start a private one; leave it at the end.

    Raises:
        InfeasibleError: no cluster answers at ``address``.
        UsageError: it is a ray:// address, which only ``ssl-sweep run`` takes.
    """
    if address is not None and address.startswith(CLIENT):
        raise UsageError(
            f"{address}: only ssl-sweep run takes an address of Ray's client server",
            hint="on the cluster, use --address auto",
        )
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    private = address in (None, "local")
    folder = ray_folder() if private else ""
    of_workers = for_workers() | {"TMPDIR": tempfile.gettempdir()}  # it may be given as a relative path
    if private:
        for name, value in _ON_LOOPBACK.items():
            os.environ.setdefault(name, value)
    if address is not None and not private:
        require_answer(address)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray

        from ssl_sweep.sweep.cluster.internals import (
            auto_address,
            job_without_paths,
            patient_start,
            signals_kept,
        )

        target = auto_address() if address == "auto" else address or ""
        if address == "auto":
            require_answer(target)
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the run reports how trials fail
        options = {
            "job_config": job_without_paths(),
            "logging_level": logging.ERROR,
            "log_to_driver": False,
        }
        try:
            with signals_kept(), patient_start(), _environment(of_workers if private else {}):
                if private:
                    ray.init(
                        address="local",
                        num_cpus=cores(),
                        include_dashboard=False,
                        object_store_memory=_OBJECT_STORE_BYTES,
                        _temp_dir=folder,
                        **options,
                    )
                else:
                    ray.init(address=address, **options)
        except Exception as error:  # Ray has no class of its own for a start that fails
            if address is None or private:
                raise _not_started(error, folder) from error
            raise no_answer("cluster", address, error, heard=":" in target) from error
    try:
        if not private:
            require_same_program()
        yield _cluster(private)
    finally:
        with _no_collection():
            ray.shutdown()


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Processes that start inside the block get these variables."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def ray_folder() -> str:
    """The folder for a private Ray: in the system's temporary folder unless its path is too long for Ray.

    Raises:
        InfeasibleError: every path is too long or cannot be written.
    """
    usual = os.path.abspath(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    for parent in (usual, *_SHORT_FOLDERS):
        folder = os.path.join(parent, "ray")
        if len(os.fsencode(folder)) <= _RAY_FOLDER_BYTES and os.access(parent, os.W_OK | os.X_OK):
            return folder
    name = "RAY_TMPDIR" if os.environ.get("RAY_TMPDIR") else "TMPDIR"
    raise InfeasibleError(
        f"the path of the temporary folder {usual!r} is too long for Ray's sockets, and none of"
        f" {', '.join(_SHORT_FOLDERS)} can be written",
        hint=f"set {name} to a folder whose path has at most {_RAY_FOLDER_BYTES - len('/ray')} bytes",
    )


def _cluster(private: bool) -> Cluster:
    from ssl_sweep.sweep.cluster.autoscaler import capacity

    found = capacity()
    cpus, gpus = (found.cpus, found.gpus) if found else resources()
    cluster = Cluster(cpus, gpus, len(alive_nodes()), private, found)
    how = "started on this machine" if private else f"joined with {cluster.nodes} nodes"
    _log.info("Ray is %s: %g CPUs, %g GPUs at most", how, cpus, gpus)
    return cluster


@contextmanager
def _no_collection() -> Iterator[None]:
    """Collect no garbage while Ray's core ends. If another thread (the mirror's) freed an ObjectRef then, Ray
    would end this process at once, with exit code 1 and no message."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def require_answer(address: str) -> None:
    """Try HOST:PORT for a few seconds. Ray itself would try for minutes, or for ever.

    Raises:
        InfeasibleError: nothing answers.
        UsageError: it is the address of a dashboard, or not valid.
    """
    if address.startswith(("http://", "https://")):
        raise UsageError(
            f"{address} is the address of a dashboard",
            hint="ssl-sweep submit takes it; --address takes HOST:6379 here",
        )
    host, _, port = address.removeprefix(CLIENT).rpartition(":")
    if not host:  # "auto": Ray looks for a cluster on this machine
        return
    if not (port.isascii() and port.isdigit() and int(port[:6]) <= 65535):
        raise UsageError(
            f"{address!r} is not a valid address of a cluster: {port!r} is not a port",
            hint="give HOST:PORT, such as HOST:6379",
        )
    require_listener("client server" if address.startswith(CLIENT) else "cluster", address)


def require_listener(what: str, address: str) -> None:
    """Connect to ``host:port`` of an address, whatever its scheme, for a few seconds.

    Raises:
        InfeasibleError: nothing listens there; ``what`` says what should.
        UsageError: the address is not valid.
    """
    if why := malformed(address):
        raise UsageError(f"{address!r} is not a valid address: {why}", hint="give it with HOST:PORT")
    parts = urlsplit(address if "://" in address else f"//{address}")
    port = parts.port or {"https": 443}.get(parts.scheme, 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=_KNOCK_S).close()
    except OSError as error:
        raise no_answer(what, address, error) from error


def no_answer(what: str, address: str, error: BaseException, heard: bool = False) -> InfeasibleError:
    """The error for an address that does not answer, with what to do about its cause.

    Args:
        what: ``cluster``, ``dashboard`` or ``client server``.
        address: as the user gave it.
        error: what the attempt raised.
        heard: whether something listens there.
    """
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    return InfeasibleError(
        f"no Ray {what} answers at {address!r}: {first_line(error)}", hint=_hint(what, address, causes, heard)
    )


def _hint(what: str, address: str, causes: Sequence[BaseException], heard: bool) -> str:
    if any(isinstance(cause, ImportError) or "pip install" in str(cause) for cause in causes):
        return "on this machine: pip install 'ssl-sweep[cluster]'"
    if proxy := proxy_for(address):
        host = urlsplit(address).hostname
        return f"the request used the proxy {proxy}; if the proxy cannot reach it, add {host} to no_proxy"
    if heard or any("oken" in str(cause) for cause in causes):
        # A cluster that wants a token refuses, or is silent like one that does not exist.
        return "if it needs a token, set RAY_AUTH_MODE=token and put the token into ~/.ray/auth_token"
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return "check the name of the host"
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return "check that the host runs and that no firewall is between it and this machine"
    return {
        "cluster": "start one with `ray start --head`, or leave out --address to use this machine",
        "dashboard": "check that the tunnel is open (`ray dashboard deploy/aws.yaml`) and that the head has"
        " ray[default]",
        "client server": "check that the head has ray[default], or use `ssl-sweep submit`; it only needs the"
        " dashboard",
    }[what]


def _not_started(error: BaseException, folder: str) -> InfeasibleError:
    """The error for a private Ray that did not start."""
    logs = f"its logs are in {folder}/session_latest/logs"
    if isinstance(error, OSError) and error.errno:
        logs = f"{error.filename or folder}: {remedy(error)}"
    elif "timed out" in str(error):
        logs = f"this machine is too busy: run the same command again later; {logs}"
    return InfeasibleError(f"Ray did not start on this machine: {first_line(error)}", hint=logs)
