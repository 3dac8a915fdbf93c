"""A sweep as a job of a real cluster with a dashboard: submitted, followed, stopped, and reported."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import Bench, wait_for
from ray_head import Head

pytestmark = pytest.mark.exhaustive

PLUGINS = Path(__file__).parents[1] / "helpers" / "plugins"
GRID = """
name: Submitted_sweep
datasets:
  objects: {source: synthetic, domain: objects, train: 60, test: 30}
pretrain:
  - {method: sleep, domain: objects, images: 40, batch: 20, epochs: 30}
evaluate:
  - {domain: objects, labels: 20}
compute: {checkpoint_every_s: 0.2}
"""
PATH = os.pathsep.join(filter(None, [str(PLUGINS), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    made = Head(cpus=2, env={"PYTHONPATH": PATH, "SLEEP_METHOD_S": "0.3"})
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def submitting(tmp_path: Path, head: Head) -> Bench:
    made = Bench(tmp_path, env=head.env | {"PYTHONPATH": PATH})
    made.write(GRID)
    return made


def words(bench: Bench, head: Head, *more: str) -> list[str]:
    return ["submit", "grid.yaml", "--address", head.dashboard, "--store", bench.store, *more]


def test_detach_attach_stop_and_go_on(submitting: Bench, head: Head) -> None:
    bench = submitting
    first = bench.start(*words(bench, head))
    logs = bench.folder / bench.store / "pretrain"
    wait_for(lambda: list(logs.glob("*/epochs.jsonl")), 120, "the first epoch")
    os.killpg(first.pid, signal.SIGINT)
    out, err = first.communicate(timeout=30)
    assert first.returncode == 130, err
    assert "detached" in err and "--stop" in err and "Traceback" not in err
    again = bench.start(*words(bench, head))
    stopped = bench.call(*words(bench, head, "--stop"))
    assert "stops" in stopped.stderr
    out, err = again.communicate(timeout=60)
    assert "which is already running" in err and again.returncode == 130, err
    assert "pretrain" in out and not list(logs.glob("*/manifest.json"))
    done = bench.call(*words(bench, head))
    assert "-2 is submitted" in done.stderr and "1 complete" in done.stderr, done.stderr
    assert set(bench.executions().values()) == {1}
    (log,) = logs.glob("*/log.txt")
    assert "stopped" in log.read_text() and len(list(logs.glob("*/epochs.jsonl"))) == 1
    assert "nothing to stop" in bench.call(*words(bench, head, "--stop")).stderr
    # Through Ray's client the driver runs on the head as well, here with something left to do.
    (probe,) = (bench.folder / bench.store / "probe").iterdir()
    shutil.rmtree(probe)
    again = bench.call("run", "grid.yaml", "--store", bench.store, "--address", head.client)
    assert "executed" in again.stdout and "1 probe" in again.stdout, again.stdout


def test_what_is_refused_before_anything_starts(submitting: Bench, head: Head) -> None:
    bench = submitting
    secret = bench.call(*words(bench, head, "--tracking-uri", "https://me:hunter2@mlflow.example"), expect=2)
    assert "MLFLOW_TRACKING_PASSWORD" in secret.stderr and "hunter2" not in secret.stderr
    wrong = ["submit", "grid.yaml", "--store", bench.store, "--address"]
    assert "dashboard" in bench.call(*wrong, "auto", expect=2).stderr
    assert "tunnel" in bench.call(*wrong, "http://127.0.0.1:9", expect=3).stderr
    bench.env = bench.env | {"RAY_AUTH_MODE": "disabled"}
    assert "RAY_AUTH_MODE=token" in bench.call(*wrong, head.dashboard, expect=3).stderr

    run = ["run", "grid.yaml", "compute.workers=2", "compute.cpus_per_worker=2", "--store", submitting.store]
    bench.env = submitting.env | head.env
    refused = bench.call(*run, "--address", head.address, expect=3)
    assert "2 workers of 2 CPUs" in refused.stderr and "1 x (2 CPUs)" in refused.stderr


def test_ctrl_c_through_rays_client_stops_the_driver_on_the_head(submitting: Bench, head: Head) -> None:
    bench = submitting
    told = bench.folder / "told.json"
    bench.env = bench.env | {"SSL_SWEEP_NOTIFY": f"sh -c 'cat > {told}'"}
    run = bench.start("run", "grid.yaml", "--store", bench.store, "--address", head.client)
    logs = bench.folder / bench.store / "pretrain"
    wait_for(lambda: list(logs.glob("*/epochs.jsonl")), 150, "the first epoch")
    os.killpg(run.pid, signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130 and "Traceback" not in err, out + err
    assert "interrupted; to continue" in out
    assert not list(logs.glob("*/manifest.json")) and list(logs.glob("*/checkpoint/*"))
    assert not list((bench.folder / bench.store / "leases").iterdir())
    assert json.loads(told.read_text())["outcome"] == "stopped"


class Tunnel:
    """As `ray dashboard` makes one: connections to a port of its own are passed on."""

    def __init__(self, port: int) -> None:
        self._port, self._open = port, True
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while self._open:
                here, _ = self._listener.accept()
                there = socket.create_connection(("127.0.0.1", self._port))
                self._sockets += [here, there]
                for pair in ((here, there), (there, here)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)

    def close(self) -> None:
        self._open = False
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def test_the_store_tells_the_end_where_the_tunnel_has_broken(submitting: Bench, head: Head) -> None:
    bench = submitting
    tunnel = Tunnel(int(head.dashboard.rpartition(":")[2]))
    job = bench.start("submit", "grid.yaml", "--address", tunnel.address, "--store", bench.store)
    logs = bench.folder / bench.store / "pretrain"
    wait_for(lambda: list(logs.glob("*/epochs.jsonl")), 150, "the first epoch")
    tunnel.close()
    out, err = job.communicate(timeout=150)
    assert job.returncode == 0, out + err
    assert err.count("log broke") == 1 and "1 complete" in err and "Traceback" not in err, err


def test_told_by_webhook_and_by_command(finished: Bench) -> None:
    told: list[dict[str, object]] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    run = ["run", "grid.yaml", "--store", finished.store, "--notify"]
    try:
        finished.call(*run, f"http://127.0.0.1:{server.server_port}/hook")
    finally:
        server.shutdown()
        server.server_close()
    (event,) = told
    assert event["outcome"] == "complete" and event["exit_code"] == 0 and event["sweep"] == "tiny"
    assert str(finished.folder) not in json.dumps(event)
    file = finished.folder / "told.json"
    finished.call(*run, f"sh -c 'cat > {file}'")
    assert json.loads(file.read_text())["rows"] == event["rows"]
    failed = finished.call(*run, "sh -c 'echo no such channel >&2; exit 7'")
    assert failed.stderr.count("the notification failed") == 1 and "no such channel" in failed.stderr
