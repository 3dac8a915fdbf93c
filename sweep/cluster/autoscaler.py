"""Ask a connected cluster how large it can become: its autoscaler's node types, or else its present nodes.

Ray's API does not give an autoscaler's limits. They are read where the autoscaler reads them: in the file
that the head's monitor was started with or, on Kubernetes, in the RayCluster object.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
import yaml

from ssl_sweep.sweep.cluster.internals import kuberay_config
from ssl_sweep.sweep.cluster.nodes import A_BIT, HEAD, nodes_now
from ssl_sweep.sweep.errors import first_line
from ssl_sweep.sweep.execution.capacity import Capacity, NodeType

_log = logging.getLogger(__name__)
_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_ASK_S = 30.0


def capacity() -> Capacity | None:
    """How large the cluster can become; None if the autoscaler's limits cannot be read."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    try:
        config = _autoscaler(ray.get_runtime_context().gcs_address)
        if config is None and not _on_head(nodes):
            config = ray.get(_ask_head.remote(), timeout=_ASK_S)
    except Exception as error:  # Kubernetes refuses, or the file is not valid YAML
        _log.warning("the autoscaler's configuration cannot be read: %s", first_line(error))
        return None
    if config is None:
        return nodes_now()
    return from_config(config, next(_size(n["Resources"]) for n in nodes if HEAD in n["Resources"]))


def from_config(config: Mapping[str, Any], head: tuple[float, float]) -> Capacity:
    """The limits in an autoscaler's configuration; ``head`` is the CPUs and GPUs of the head."""
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
    """The configuration of the autoscaler of the cluster at this address, if it runs on this machine."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = process.read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has just ended, or belongs to another user
            continue
        given = dict(word.partition("=")[::2] for word in arguments if word.startswith("--"))
        if given.get("--gcs-address") == gcs_address and given.get("--autoscaling-config"):
            found: dict[str, Any] = yaml.safe_load(Path(given["--autoscaling-config"]).read_text())
            return found
    name = os.environ.get("RAY_CLUSTER_NAME")
    if name and _POD.exists():
        return kuberay_config(name, _POD.read_text().strip())
    return None


@ray.remote(num_cpus=0, resources={HEAD: A_BIT}, max_retries=0)
def _ask_head() -> dict[str, Any] | None:
    return _autoscaler(ray.get_runtime_context().gcs_address)
