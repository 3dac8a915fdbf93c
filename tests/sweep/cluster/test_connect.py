"""Where a private Ray keeps its files, and what an error says about an address that does not answer."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from pathlib import Path

import pytest

from ssl_sweep.sweep.cluster import connect
from ssl_sweep.sweep.cluster.connect import no_answer, ray_folder, require_answer
from ssl_sweep.sweep.cluster.internals import patient_start
from ssl_sweep.sweep.cluster.jobs import Jobs
from ssl_sweep.sweep.errors import InfeasibleError, UsageError
from ssl_sweep.sweep.util.addresses import proxy_for, reach_loopback_directly

HINTS = ["ray start --head", "name of the host", "no firewall", "RAY_AUTH_MODE=token", "tunnel"]
HINTS.append("'ssl-sweep[cluster]'")
SOCKET = "/session_2026-12-01_08-08-53_723660_4194304/sockets/plasma_store"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def temporary(monkeypatch: pytest.MonkeyPatch, folder: Path | str) -> None:
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)


@pytest.mark.smoke
def test_a_long_temporary_folder_is_replaced_by_a_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    temporary(monkeypatch, long)
    assert not ray_folder().startswith(str(tmp_path))
    assert len(ray_folder() + SOCKET) <= 107


def test_a_relative_temporary_folder_is_made_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="t") as short:
        monkeypatch.chdir(short)
        os.mkdir("rel")
        temporary(monkeypatch, "rel")
        assert ray_folder() == os.path.join(os.path.realpath(short), "rel", "ray")
        monkeypatch.setenv("RAY_TMPDIR", short)
        assert ray_folder() == os.path.join(short, "ray")


def test_without_any_short_folder_the_error_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary(monkeypatch, tmp_path)
    monkeypatch.setattr(connect, "_RAY_FOLDER_BYTES", 10)
    monkeypatch.setattr(connect, "_SHORT_FOLDERS", (str(tmp_path / "absent"),))
    with pytest.raises(InfeasibleError, match="is too long for Ray's sockets") as error:
        ray_folder()
    assert str(tmp_path) in str(error.value) and "set TMPDIR to a folder" in error.value.report()


def caused(error: BaseException, by: BaseException) -> BaseException:
    error.__cause__ = by
    return error


@pytest.mark.parametrize(
    ("what", "error", "heard", "hint"),
    [
        ("cluster", ConnectionRefusedError("refused"), False, "ray start --head"),
        ("cluster", socket.gaierror(-2, "Name or service not known"), False, "name of the host"),
        ("cluster", TimeoutError("timed out"), False, "no firewall"),
        ("cluster", ConnectionError("closed"), True, "RAY_AUTH_MODE=token"),
        ("dashboard", ConnectionRefusedError("refused"), False, "tunnel"),
        ("dashboard", RuntimeError("401: Missing Token"), False, "RAY_AUTH_MODE=token"),
        ("dashboard", ModuleNotFoundError("No module named 'aiohttp'"), False, "'ssl-sweep[cluster]'"),
        (
            "dashboard",
            caused(ConnectionError("failed"), by=socket.gaierror(-2, "unknown")),
            False,
            "name of the host",
        ),
    ],
)
def test_a_hint_is_the_remedy_of_the_cause(what: str, error: Exception, heard: bool, hint: str) -> None:
    found = no_answer(what, "http://head:8265", error, heard).hint or ""
    assert [each for each in HINTS if each in found] == [hint]


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "f/ray"), "f/ray: free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "f/ray"), "f/ray: fix its permissions"),
        (RuntimeError("The current node timed out during startup."), "is too busy"),
        (RuntimeError("anything else"), "its logs are in f/session_latest/logs"),
    ],
)
def test_a_private_ray_that_does_not_start_is_explained(error: Exception, hint: str) -> None:
    refused = connect._not_started(error, "f")
    assert str(refused).startswith("Ray did not start on this machine: ") and hint in (refused.hint or "")
    assert "ray start" not in refused.report()


@pytest.mark.parametrize("address", ["http://127.0.0.1:port", "http://[x"])
def test_an_address_that_cannot_be_parsed_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is not a valid address"):
        Jobs(address)


def test_a_client_server_that_does_not_listen_is_named() -> None:
    with pytest.raises(InfeasibleError, match=r"no Ray client server answers at 'ray://127.0.0.1:9'"):
        require_answer("ray://127.0.0.1:9")


def test_a_proxy_is_named_if_it_is_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://me:planted@127.0.0.1:9")
    with pytest.raises(InfeasibleError, match="no Ray dashboard answers") as error:
        Jobs("http://head.invalid:8265")
    report = error.value.report()
    assert "proxy http://***@127.0.0.1:9" in report and "add head.invalid to no_proxy" in report
    assert "planted" not in report and "tunnel" not in report


@pytest.mark.parametrize("known", ["", "example.org, .corp", "*"])
def test_no_proxy_is_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch, known: str) -> None:
    monkeypatch.setenv("no_proxy", known)
    monkeypatch.setenv("NO_PROXY", known)
    reach_loopback_directly()
    assert os.environ["no_proxy"] == known, "without a proxy nothing changes"
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    reach_loopback_directly()
    for address in ("http://127.0.0.1:5000", "http://localhost:8265", "http://[::1]:1", "http://x.corp"):
        assert proxy_for(address) == ("http://proxy:3128" if address[-4:] == "corp" and not known else "")
    assert proxy_for("http://elsewhere:5000") == ("" if known == "*" else "http://proxy:3128")


@pytest.mark.parametrize(("late", "seconds"), [(0, 0.0), (3, 60.0), (3, 0.0)])
def test_a_private_ray_has_time_to_start(monkeypatch: pytest.MonkeyPatch, late: int, seconds: float) -> None:
    """Ray asks for its node until it is there, but only for 30 s."""
    from ray._private import services

    asked: list[str] = []

    def get_node(address: str) -> str:
        asked.append(address)
        if len(asked) <= late:
            raise RuntimeError("No node info found")
        return "node"

    monkeypatch.setattr(services, "get_node", get_node)
    with patient_start(seconds, pause_s=0.0):
        if late and not seconds:
            with pytest.raises(RuntimeError, match="No node info"):
                services.get_node("here")
        else:
            assert services.get_node("here") == "node" and len(asked) == late + 1
    assert services.get_node is get_node
