"""The files in deploy/: what Ray's own checks accept, what KubeRay needs, and no secret in any."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
PINNED = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line[:60]
)


@pytest.fixture(autouse=True)
def at_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`ray up` is called there, by someone who has a token."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("0" * 64)


def loaded(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text())
    return document


@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml"])
def test_ray_accepts_the_cluster_file(name: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(loaded(name))
    validate_config(config)
    assert config["provider"]["cache_stopped_nodes"] is False
    assert config["available_node_types"]["head"]["max_workers"] == 0
    assert "GPU" not in config["available_node_types"]["head"]["resources"]
    assert config["available_node_types"]["gpu"]["min_workers"] == 0
    assert "spot" in str(config["available_node_types"]["gpu"]["node_config"]).lower()
    assert "spot" not in str(config["available_node_types"]["head"]["node_config"]).lower()


@pytest.mark.parametrize(
    ("name", "package"), [("aws.yaml", "boto3"), ("gcp.yaml", "google-api-python-client")]
)
def test_what_ray_needs_to_rent_machines_is_installed_with_the_cluster_extra(name: str, package: str) -> None:
    """On the head as well, where the autoscaler would fail unseen: Ray's own extras leave it out."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert package in [re.split("[>=[]", each)[0] for each in extras["cluster"]] and package in PINNED
    assert any("ssl-sweep[cluster]" in command for command in loaded(name)["setup_commands"])


@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml"])
def test_the_limits_in_the_cluster_file_are_understood(name: str) -> None:
    from ssl_sweep.sweep.cluster.autoscaler import from_config

    capacity = from_config(loaded(name), (4.0, 0.0))
    assert (capacity.gpus, capacity.cpus) == (8.0, 36.0)
    assert capacity.workers(4, 1) == 8 and capacity.workers(5, 1) == 0


def clusters() -> dict[str, dict[str, Any]]:
    cluster, job = loaded("kuberay/raycluster.yaml"), loaded("kuberay/rayjob.yaml")
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["spec"]["entrypoint"] and job["spec"]["shutdownAfterJobFinishes"] is True
    return {"cluster": cluster["spec"], "job": job["spec"]["rayClusterSpec"]}


@pytest.mark.parametrize("kind", ["cluster", "job"])
def test_kuberay_finds_what_it_needs(kind: str) -> None:
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    from ssl_sweep.sweep.cluster.autoscaler import from_config

    spec = clusters()[kind]
    assert spec["rayVersion"] == PINNED["ray"]
    assert spec["enableInTreeAutoscaling"] is True and spec["authOptions"]["mode"] == "token"
    head = spec["headGroupSpec"]
    assert head["rayStartParams"] and head["template"]["spec"]["containers"][0]["image"]
    assert "nvidia.com/gpu" not in str(head)
    for group in spec["workerGroupSpecs"]:
        assert group["groupName"] and group["template"]["spec"]["containers"]
        assert 0 == group["replicas"] == group["minReplicas"] < group["maxReplicas"]
        pod = group["template"]["spec"]
        mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert mounts["shm"] == "/dev/shm" and volumes["shm"]["emptyDir"]["medium"] == "Memory"
    # As Ray's autoscaler reads the object, and as this program reads that.
    whole = {"metadata": {"name": "ssl-sweep", "namespace": "default"}, "spec": spec}
    config = _derive_autoscaling_config_from_ray_cr(whole)
    capacity = from_config(config, (4.0, 0.0))
    assert (capacity.gpus, capacity.cpus) == (8.0, 36.0)


def test_the_tracker_listens_on_this_machine_alone() -> None:
    services = loaded("mlflow/compose.yaml")["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name or "SECRET" in name or "KEY" in name:
                assert re.fullmatch(r"\$\{\w+:\?\}", value), f"{name} is written down"


def test_versions_are_those_that_were_tested() -> None:
    named = [
        (path.name, package, version)
        for path in FILES
        for package, version in re.findall(r"\b([a-z][\w-]*)(?:\[\w+\])?==([\w.]+)", path.read_text())
    ]
    assert named
    for file, package, version in named:
        assert PINNED[package] == version, file


def test_no_secret_is_written_down() -> None:
    secret = re.compile(r"AKIA[0-9A-Z]{16}|-----BEGIN|//[^/\s$]+:[^@\s$]+@|[a-f0-9]{40,}")
    for path in FILES:
        assert not secret.search(path.read_text()), path
