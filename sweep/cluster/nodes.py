"""The nodes of the connected cluster: what they have, what is free, which were lost, and what they see."""

from __future__ import annotations

import logging
import os
import socket
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ssl_sweep.sweep.errors import InfeasibleError, StoreError, first_line
from ssl_sweep.sweep.execution.capacity import Capacity
from ssl_sweep.sweep.store.manifest import Failure
from ssl_sweep.sweep.util.program import other_program, this_program

HEAD = "node:__internal_head__"
"""A resource that only the head node has."""
A_BIT = 0.001
"""The share of ``HEAD`` that a task takes in order to run on the head."""

_log = logging.getLogger(__name__)
_KNOCK_S = 5.0
_LOOK_S = 60.0  # a node may have to start a process first

T = TypeVar("T")


def resources() -> tuple[float, float]:
    """The CPUs and GPUs of the cluster as it is now."""
    import ray

    have = ray.cluster_resources()
    return have.get("CPU", 0.0), have.get("GPU", 0.0)


def nodes_now() -> Capacity:
    """The capacity of a cluster without an autoscaler: its nodes as they are."""
    import ray

    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return Capacity.of_nodes((each.get("CPU", 0.0), each.get("GPU", 0.0)) for each in alive)


def free_now() -> Capacity:
    """What is free on the nodes that answer."""
    from ssl_sweep.sweep.cluster.internals import all_nodes, free_resources

    alive = {node["NodeID"]: node for node in all_nodes() if node["Alive"]}
    free = [
        each
        for id, each in free_resources().items()
        if id in alive and _answers(alive[id]["NodeManagerAddress"], alive[id]["NodeManagerPort"])
    ]
    return Capacity.of_nodes((each.get("CPU", 0.0), each.get("GPU", 0.0)) for each in free)


def alive_nodes() -> frozenset[str]:
    """The ids of the cluster's nodes."""
    import ray

    return frozenset(node["NodeID"] for node in ray.nodes() if node["Alive"])


def gone_nodes() -> frozenset[str]:
    """The ids of the nodes that the cluster had and lost."""
    import ray

    return frozenset(node["NodeID"] for node in ray.nodes() if not node["Alive"])


def with_loss(failure: Failure, gone: frozenset[str] | None, drained: frozenset[str]) -> Failure:
    """The failure, named after the loss of a node if one was lost since the stage started.

    Workers and their callers notice a broken connection long before Ray misses the node behind it.

    Args:
        failure: what the stage's process, or Ray, reported.
        gone: the nodes that were already lost when the stage started; None skips the check.
        drained: the nodes that were seen draining at any time.
    """
    from ssl_sweep.sweep.cluster.internals import draining_nodes

    if gone is None or failure.kind not in ("worker_error", "node_lost"):
        return failure
    loss = _loss_since(gone, drained | draining_nodes())
    if loss in ("", failure.kind):
        return failure
    words = {"preempted": "a node was taken back", "node_lost": "a node was lost"}
    return replace(failure, kind=loss, message=f"{words[loss]}: {failure.message}")


def _loss_since(gone: frozenset[str], drained: frozenset[str]) -> str:
    """The kind of failure, or '' if no node is lost.

    Ray takes fifteen seconds to miss a node, so each node is asked for a connection. Ray does not call a node
    preempted that goes before the announced moment, so ``drained`` counts too.
    """
    import ray

    from ssl_sweep.sweep.cluster.internals import removed_as_idle, removed_as_preempted

    lost = ""
    for node in ray.nodes():
        id = node["NodeID"]
        if id in gone or (removed_as_idle(node) and not node["Alive"]):
            continue
        away = not node["Alive"] or not _answers(node["NodeManagerAddress"], node["NodeManagerPort"])
        if removed_as_preempted(node) or (away and id in drained):
            _log.info("node %s (%s) was taken back", id, node["NodeManagerAddress"])
            return "preempted"
        if away:
            _log.info("node %s (%s) is lost", id, node["NodeManagerAddress"])
            lost = "node_lost"
    return lost


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_KNOCK_S).close()
    except OSError:
        return False
    return True


def require_same_program() -> None:
    """Refuse a cluster if some node has another version of this program.

    Raises:
        InfeasibleError: names the node, or a node does not answer.
    """

    def program() -> tuple[str, str]:
        """The digest of the node's program, and its description. Sent by value: the node may lack the
        module of the same name."""
        try:
            from ssl_sweep.sweep.util.program import this_program
        except Exception as error:
            return "", f"no ssl-sweep that can be compared ({type(error).__name__}: {error})"
        return this_program().digest, str(this_program())

    mine = this_program()
    for node, (digest, found) in _on_each_node(program, "which version of ssl-sweep it has"):
        if digest != mine.digest:
            raise other_program(f"node {node}", found, mine)


def require_shared_store(root: Path) -> None:
    """Refuse a store that some node of the cluster cannot see.

    The check writes a file here and looks for it on every node.

    Raises:
        StoreError: names the nodes that do not see the store.
        InfeasibleError: a node does not answer.
    """
    import ray

    if sum(node["Alive"] for node in ray.nodes()) < 2:
        return
    probe = root / f".probe-{uuid.uuid4().hex}"
    probe.touch()

    def sees(path: str) -> bool:
        return os.path.exists(path)

    try:
        found = _on_each_node(sees, f"whether it sees the store {root}", str(probe))
    finally:
        probe.unlink()
    if blind := [node for node, sees_it in found if not sees_it]:
        raise StoreError(
            f"the store {root} is not visible on {len(blind)} of {len(found)} nodes: {', '.join(blind)}",
            hint="put the store on a file system that every node mounts at the same path",
        )


def _on_each_node(function: Callable[..., T], what: str, *arguments: str) -> list[tuple[str, T]]:
    """The address of each node, and what a function returns there.

    Args:
        function: one that is defined inside another, so that Ray sends it by value.
        what: what it says, for the error.
        arguments: its arguments.

    Raises:
        InfeasibleError: a node does not answer: it is busy starting processes, or went away meanwhile.
    """
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(function)
    started = []
    for node in ray.nodes():
        if node["Alive"]:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            answer = task.options(scheduling_strategy=there).remote(*arguments)
            started.append((node["NodeManagerAddress"], answer))
    found = []
    for address, answer in started:
        try:
            found.append((address, ray.get(answer, timeout=_LOOK_S)))
        except RayError as error:
            raise InfeasibleError(
                f"node {address} did not say within {_LOOK_S:.0f} s {what}: {first_line(error)}",
                hint="look at the node with `ray status`, then run the same command again",
            ) from error
    return found
