"""Ask a connected cluster what it can ever be: its autoscaler's node types, else the nodes that are there.

Ray keeps an autoscaler's limits in no place of its API. They are read where the autoscaler reads them: the
file that the head's monitor was started with, or on Kubernetes the RayCluster object.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
import yaml

from ssl_sweep.sweep.cluster.connect import A_BIT, HEAD, nodes_now
from ssl_sweep.sweep.errors import first_line
from ssl_sweep.sweep.execution.capacity import Capacity, NodeType

_log = logging.getLogger(__name__)
_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_ASK_S = 30.0


def capacity() -> Capacity | None:
    """None where an autoscaler does not tell what it may do."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    try:
        config = _autoscaler(ray.get_runtime_context().gcs_address)
        if config is None and not _on_head(nodes):
            config = ray.get(_ask_head.remote(), timeout=_ASK_S)
    except Exception as error:  # Kubernetes that refuses, a file that is none
        _log.warning("the autoscaler's configuration cannot be read: %s", first_line(error))
        return None
    if config is None:
        return nodes_now()
    return from_config(config, next(_size(n["Resources"]) for n in nodes if HEAD in n["Resources"]))


def from_config(config: Mapping[str, Any], head: tuple[float, float]) -> Capacity:
    """The limits in an autoscaler's configuration; `head` is what the head has."""
    types = [NodeType("head", *head, 1)]
    limit = int(config.get("max_workers", 2))
    for name, each in config["available_node_types"].items():
        most = int(each.get("max_workers", 0 if name == config.get("head_node_type") else limit))
        if most > 0:
            types.append(NodeType(name, *_size(each.get("resources", {})), most, scaled=True))
    return Capacity(tuple(types), limit)


def _size(resources: Mapping[str, float]) -> tuple[float, float]:
    return float(resources.get("CPU", 0.0)), float(resources.get("GPU", 0.0))


def _on_head(nodes: list[dict[str, Any]]) -> bool:
    here = ray.get_runtime_context().get_node_id()
    return any(node["NodeID"] == here and HEAD in node["Resources"] for node in nodes)


def _autoscaler(gcs_address: str) -> dict[str, Any] | None:
    """The configuration of the autoscaler whose cluster's address this is, looked for on this machine."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = process.read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has just ended, or is another user's
            continue
        given = dict(word.partition("=")[::2] for word in arguments if word.startswith("--"))
        if given.get("--gcs-address") == gcs_address and given.get("--autoscaling-config"):
            found: dict[str, Any] = yaml.safe_load(Path(given["--autoscaling-config"]).read_text())
            return found
    name = os.environ.get("RAY_CLUSTER_NAME")
    if name and _POD.exists():
        from ray.autoscaler._private.kuberay.autoscaling_config import AutoscalingConfigProducer

        object: dict[str, Any] = AutoscalingConfigProducer(name, _POD.read_text().strip())()
        return object
    return None


@ray.remote(num_cpus=0, resources={HEAD: A_BIT}, max_retries=0)
def _ask_head() -> dict[str, Any] | None:
    return _autoscaler(ray.get_runtime_context().gcs_address)
