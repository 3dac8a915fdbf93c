"""Invalid addresses, and clusters that stop answering: a message, never a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ssl_sweep.cli import cli
from ssl_sweep.sweep.cluster.connect import require_answer
from ssl_sweep.sweep.cluster.nodes import require_shared_store
from ssl_sweep.sweep.cluster.submission import Submission
from ssl_sweep.sweep.errors import InfeasibleError, StoreError, UsageError
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.tracking.location import tracking_uri


@pytest.mark.smoke
@pytest.mark.parametrize("address", ["s3://[x", "s3://[bucket]/x", "az://[x", "file://[x/y"])
def test_a_store(address: str) -> None:
    with pytest.raises(StoreError, match="is not a valid address"):
        Store(address)


@pytest.mark.parametrize(
    "words", [["ui"], ["run", "g.yaml"], ["submit", "g.yaml", "--store", "s", "--address", "http://x:1"]]
)
def test_a_tracker_on_the_command_line(words: list[str]) -> None:
    called = CliRunner().invoke(cli, [*words, "--tracking-uri", "http://me:planted@[x"])
    assert isinstance(called.exception, UsageError)
    assert "--tracking-uri is not a valid address" in str(called.exception)
    assert "planted" not in called.exception.report()


def test_a_tracker_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://[x")
    with pytest.raises(UsageError, match="MLFLOW_TRACKING_URI is not a valid address"):
        tracking_uri(Store(tmp_path), None)


@pytest.mark.smoke
@pytest.mark.parametrize("port", ["²", "99999", "9" * 30, "port", ""])
@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster(scheme: str, port: str) -> None:
    with pytest.raises(UsageError, match="is not a valid address of a cluster"):
        require_answer(f"{scheme}127.0.0.1:{port}")


def test_a_node_that_does_not_look_at_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray
    from ray.exceptions import GetTimeoutError

    def silent(*_: Any, **__: Any) -> Any:
        raise GetTimeoutError("Get timed out")

    nodes = [{"NodeID": f"{i}" * 56, "NodeManagerAddress": f"10.0.0.{i}", "Alive": True} for i in (1, 2)]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setattr(ray, "get", silent)
    monkeypatch.setattr(ray.remote_function.RemoteFunction, "_remote", lambda *_, **__: None)
    with pytest.raises(InfeasibleError, match=r"node 10.0.0.1 did not say within 60 s") as error:
        require_shared_store(tmp_path)
    assert error.value.exit_code == 3 and not list(tmp_path.iterdir())


def test_a_connection_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways in which Ray's client says so."""
    import ray
    from ray.exceptions import RaySystemError

    from ssl_sweep.sweep.cluster import client, connect

    monkeypatch.setattr(connect, "require_answer", lambda address: None)
    monkeypatch.setattr(ray, "init", lambda *_, **__: None)
    monkeypatch.setattr(Submission, "pack", lambda *_: None)
    asked = Submission.__new__(Submission)
    for lost in (ConnectionError("Client is shutting down."), RaySystemError("the channel is closed")):

        def gone(*_: Any, lost: Exception = lost) -> int:
            raise lost

        monkeypatch.setattr(client, "_watch", gone)
        with pytest.raises(InfeasibleError, match="the connection to 'ray://h:1' is lost") as error:
            client.run_on_head(asked, "ray://h:1", print)
        assert error.value.exit_code == 3 and "run the same command again to continue" in error.value.report()


@pytest.mark.parametrize(("failures", "attempts"), [(0, 1), (2, 3), (9, 3)])
def test_a_client_server_that_starts_no_session(
    monkeypatch: pytest.MonkeyPatch, failures: int, attempts: int
) -> None:
    import ray

    from ssl_sweep.sweep.cluster import client, connect

    made: list[str] = []

    def start(address: str, **_: Any) -> None:
        made.append(address)
        if len(made) <= failures:
            raise ConnectionAbortedError("Traceback\n  File x\npsutil.ZombieProcess: PID still exists")

    monkeypatch.setattr(connect, "require_answer", lambda address: None)
    monkeypatch.setattr(ray, "init", start)
    monkeypatch.setattr(Submission, "pack", lambda *_: None)
    monkeypatch.setattr(client, "_watch", lambda *_: 0)
    asked = Submission.__new__(Submission)
    if failures < attempts:
        assert client.run_on_head(asked, "ray://h:1", print) == 0
    else:
        refused = r"started no session in 3 attempts: psutil.ZombieProcess: PID still exists"
        with pytest.raises(InfeasibleError, match=refused) as error:
            client.run_on_head(asked, "ray://h:1", print)
        assert "ssl-sweep submit" in error.value.report()
    assert made == ["ray://h:1"] * attempts
