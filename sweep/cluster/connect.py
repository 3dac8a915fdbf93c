"""Connect to Ray: a private instance on this machine, or an existing cluster."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import threading
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ssl_sweep.sweep.errors import InfeasibleError, StoreError, UsageError, first_line
from ssl_sweep.sweep.execution.backend import Cluster
from ssl_sweep.sweep.execution.capacity import Capacity
from ssl_sweep.sweep.store.manifest import Failure

# Ray reads these when it is imported or when a process starts, so they are set first.
# The polling interval is the time a finished training waits to be noticed; the metrics and the watcher are
# processes that a training of a minute pays for and never uses: that a node was taken back is told by the
# deaths on it.
_ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # else a call that comes after the end would start another
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # As many as it is given: an autoscaler acts on what waits, and Tune would show it one trial at a time.
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",
}
# An instance that no other machine may join listens on 127.0.0.1 only: what Ray does by itself on macOS and
# Windows, for which the switch is named. Without it Linux gets 0.0.0.0.
_ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
if sys.platform == "linux":  # workers of one training meet there too
    _ON_LOOPBACK |= {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
# Stages pass files through the store, never objects through Ray, so the object store stays small.
_OBJECT_STORE_BYTES = 256 * 1024**2
_KNOCK_S = 5.0
_LOOK_S = 60.0  # a node may have to start a process first

CLIENT = "ray://"
HEAD = "node:__internal_head__"
"""A resource that the head node has, and no other."""
A_BIT = 0.001


@contextmanager
def connect(address: str | None) -> Iterator[Cluster]:
    """Join the cluster at ``address`` (``auto``, ``host:port``), or start a private one; stop it after.

    Raises:
        InfeasibleError: no cluster answers at ``address``.
        UsageError: it is a ray:// address, which only ``ssl-sweep run`` takes.
    """
    if address is not None and address.startswith(CLIENT):
        raise UsageError(
            f"{address}: only ssl-sweep run takes an address of Ray's client",
            hint="on the cluster, use --address auto",
        )
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    private = address in (None, "local")
    if private:
        for name, value in _ON_LOOPBACK.items():
            os.environ.setdefault(name, value)
    if address is not None and not private:
        require_answer(address)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray

        target = _found() if address == "auto" else address or ""
        if address == "auto":
            require_answer(target)
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what trials die of is told elsewhere
        options = {"logging_level": logging.ERROR, "log_to_driver": False}
        try:
            with _signals_kept():
                if private:
                    ray.init(
                        address="local",
                        include_dashboard=False,
                        object_store_memory=_OBJECT_STORE_BYTES,
                        **options,
                    )
                else:
                    ray.init(address=address, **options)
        except Exception as error:  # Ray has no class of its own for a start that fails
            heard = not private and ":" in target
            raise no_answer("cluster", address, error, heard) from error
    try:
        yield _cluster(private)
    finally:
        with _no_collection():
            ray.shutdown()


def _cluster(private: bool) -> Cluster:
    from ssl_sweep.sweep.cluster.autoscaler import capacity

    found = capacity()
    cpus, gpus = (found.cpus, found.gpus) if found else resources()
    return Cluster(cpus, gpus, len(alive_nodes()), private, found)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Should another thread (the mirror's) collect garbage that holds an ObjectRef while Ray's core goes, Ray
    would find none to tell and end this process at once, with 1 and without a word."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself, twice: in Python to exit at once, and in C++ to print a stack and abort
    after three seconds. The run has a handler of its own, which lets trainings write a checkpoint."""
    from ray._private import utils

    theirs, utils.set_sigterm_handler = utils.set_sigterm_handler, lambda handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = theirs
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
            signal.alarm(0)


def _found() -> str:
    """What "auto" is: the cluster that was started last on this machine, which may have ended since; '' where
    there is none."""
    from ray._private.services import canonicalize_bootstrap_address

    try:
        return canonicalize_bootstrap_address("auto") or ""
    except ValueError:  # RAY_ADDRESS is no address: Ray says so itself
        return ""


def require_answer(address: str) -> None:
    """Knock at HOST:PORT for a few seconds: Ray itself would try for minutes, or without an end.

    Raises:
        InfeasibleError: nobody answers.
        UsageError: it is the address of a dashboard, or none.
    """
    if address.startswith(("http://", "https://")):
        raise UsageError(
            f"{address} is the address of a dashboard", hint="ssl-sweep submit takes it; here give HOST:6379"
        )
    host, _, port = address.removeprefix(CLIENT).rpartition(":")
    if not host:  # "auto": Ray looks for a cluster on this machine
        return
    if not (port.isascii() and port.isdigit() and int(port[:6]) <= 65535):
        raise UsageError(
            f"{address!r} is no address of a cluster: {port!r} is no port",
            hint="give HOST:PORT, as HOST:6379",
        )
    try:
        socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()
    except OSError as error:
        raise no_answer("cluster", address, error) from error


def no_answer(what: str, address: str | None, error: BaseException, heard: bool = False) -> InfeasibleError:
    """Why nobody answered, and what to do. A cluster behind a token refuses, or is silent, like one that is
    not there; `heard`: something listens at the address."""
    hint = {
        "cluster": "start one with `ray start --head`, or leave --address out to use this machine",
        "dashboard": "is the tunnel open (`ray dashboard deploy/aws.yaml`), and has the head ray[default]?",
        "client server": "has the head ray[default]? ssl-sweep submit needs its dashboard alone",
    }[what]
    causes = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    if heard or any("oken" in str(cause) for cause in causes):
        hint = "it may want a token: set RAY_AUTH_MODE=token and have the cluster's in ~/.ray/auth_token"
    return InfeasibleError(f"no Ray {what} answers at {address!r}: {first_line(error)}", hint=hint)


def resources() -> tuple[float, float]:
    """The processors and GPUs of the cluster as it is now."""
    import ray

    have = ray.cluster_resources()
    return have.get("CPU", 0.0), have.get("GPU", 0.0)


def nodes_now() -> Capacity:
    """A cluster without an autoscaler: its nodes as they are."""
    import ray

    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return Capacity.of_nodes((each.get("CPU", 0.0), each.get("GPU", 0.0)) for each in alive)


def free_now() -> Capacity:
    """What nobody holds on the nodes that answer."""
    from ray._private.state import available_resources_per_node, nodes

    alive = {node["NodeID"]: node for node in nodes() if node["Alive"]}
    free = [
        each
        for id, each in available_resources_per_node().items()
        if id in alive and _answers(alive[id]["NodeManagerAddress"], alive[id]["NodeManagerPort"])
    ]
    return Capacity.of_nodes((each.get("CPU", 0.0), each.get("GPU", 0.0)) for each in free)


def alive_nodes() -> frozenset[str]:
    """The ids of the cluster's nodes."""
    import ray

    return frozenset(node["NodeID"] for node in ray.nodes() if node["Alive"])


def gone_nodes() -> frozenset[str]:
    """The ids of the nodes that the cluster has had."""
    import ray

    return frozenset(node["NodeID"] for node in ray.nodes() if not node["Alive"])


def draining_nodes() -> frozenset[str]:
    """The ids of the nodes that Ray was told to empty, because the cloud takes them back, and that are still
    there for all it knows."""
    from ray._private.state import state

    return frozenset(state.get_draining_nodes())


def with_loss(failure: Failure, gone: frozenset[str] | None, drained: frozenset[str]) -> Failure:
    """The failure of what began when these nodes were `gone`: the loss of another, where one is lost; of
    what may have come since, too. `drained` were seen to be emptied. `gone` None asks for nothing. Workers
    and callers notice a broken connection long before Ray misses the node behind it."""
    if gone is None or failure.kind not in ("worker_error", "node_lost"):
        return failure
    loss = _loss_since(gone, drained | draining_nodes())
    if loss in ("", failure.kind):
        return failure
    words = {"preempted": "a node was taken back", "node_lost": "a node was lost"}
    return replace(failure, kind=loss, message=f"{words[loss]}: {failure.message}")


def _loss_since(gone: frozenset[str], drained: frozenset[str]) -> str:
    """The kind of failure, '' where all are there. Ray takes fifteen seconds to miss a node, so each is
    knocked at; one that goes before the moment that was announced it does not call preempted."""
    import ray
    from ray.core.generated.common_pb2 import NodeDeathInfo

    lost = ""
    for node in ray.nodes():
        id, reason = node["NodeID"], node["DeathReason"]
        idle = reason == NodeDeathInfo.AUTOSCALER_DRAIN_IDLE
        if id in gone or (idle and not node["Alive"]):
            continue
        away = not node["Alive"] or not _answers(node["NodeManagerAddress"], node["NodeManagerPort"])
        if reason == NodeDeathInfo.AUTOSCALER_DRAIN_PREEMPTED or (away and id in drained):
            return "preempted"
        if away:
            lost = "node_lost"
    return lost


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_KNOCK_S).close()
    except OSError:
        return False
    return True


def require_shared_store(root: Path) -> None:
    """Refuse a store that some node of the cluster cannot see.

    A file is written here and looked for on every node: the one honest test of a shared path.

    Raises:
        StoreError: names the nodes on which the store is not there.
        InfeasibleError: a node does not answer.
    """
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) < 2:
        return
    probe = root / f".probe-{uuid.uuid4().hex}"
    probe.touch()

    @ray.remote(num_cpus=0, max_retries=0)
    def sees(path: str) -> bool:
        return os.path.exists(path)

    blind: list[str] = []
    try:
        for node in nodes:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            try:
                if not ray.get(sees.options(scheduling_strategy=there).remote(str(probe)), timeout=_LOOK_S):
                    blind.append(node["NodeManagerAddress"])
            except RayError as error:  # it is busy starting processes, or went away meanwhile
                raise InfeasibleError(
                    f"node {node['NodeManagerAddress']} did not say within {_LOOK_S:.0f} s whether it sees"
                    f" the store {root}: {first_line(error)}",
                    hint="look at it with `ray status`; the same command goes on",
                ) from error
    finally:
        probe.unlink()
    if blind:
        raise StoreError(
            f"the store {root} is not visible on {len(blind)} of {len(nodes)} nodes: {', '.join(blind)}",
            hint="put the store on a file system that every node mounts at the same path",
        )
