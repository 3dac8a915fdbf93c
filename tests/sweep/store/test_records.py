"""Records under real concurrent processes, on a folder and in an object store; the same promises for both."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from bench import wait_for
from obstore import exceptions
from s3_server import S3

from ssl_sweep.sweep.errors import StoreError, UnreachableError
from ssl_sweep.sweep.execution.failures import failure_of
from ssl_sweep.sweep.execution.stop import StopFlag
from ssl_sweep.sweep.store.object_records import ObjectStorage
from ssl_sweep.sweep.store.records import LocalStorage, Storage
from ssl_sweep.sweep.store.store import Store


@pytest.fixture(params=["folder", "objects"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "store")
    return f"{request.getfixturevalue('s3').bucket()}/prefix"


@pytest.fixture
def storage(address: str) -> Storage:
    return Store(address).storage


def test_what_a_storage_promises(storage: Storage) -> None:
    assert storage.read("a/b") is None and storage.names("a") == []
    assert [storage.create("a/b", b"one"), storage.create("a/b", b"two")] == [True, False]
    first = storage.read("a/b")
    assert first is not None and first.data == b"one"
    assert storage.swap("a/b", "another version", b"three") is False
    assert storage.swap("a/b", first.version, b"three") is True
    assert storage.swap("a/b", first.version, b"four") is False
    storage.put("a/c/d", b"deeper")
    storage.put("a/c/d", b"again")
    assert storage.names("a") == ["b", "c"]
    second = storage.read("a/b")
    assert second is not None and second.data == b"three"
    assert storage.swap("a/b", second.version, None) is True
    assert storage.read("a/b") is None and storage.names("a") == ["c"]
    assert storage.swap("a/b", second.version, b"five") is False
    assert [storage.create("a/b", b"six"), storage.create("a/b", b"seven")] == [True, False]
    storage.delete("a/b")
    storage.delete("a/b")
    assert storage.read("a/b") is None and storage.create("a/b", b"eight") is True


@pytest.mark.parametrize(
    "key", ["../out", "a/../../out", "/etc/passwd", "a//b", "a/./b", "~/a", "a\\..\\b", ""]
)
def test_no_key_leaves_the_store(storage: Storage, key: str) -> None:
    for use in (
        lambda: storage.read(key),
        lambda: storage.create(key, b"x"),
        lambda: storage.put(key, b"x"),
        lambda: storage.swap(key, "v", b"x"),
        lambda: storage.delete(key),
        lambda: storage.names(key),
    ):
        with pytest.raises(StoreError, match="leaves the store"):
            use()


@pytest.mark.parametrize("id", ["../../elsewhere", "/etc", ".."])
def test_no_id_leaves_the_store(tmp_path: Path, id: str) -> None:
    store = Store(tmp_path)
    for use in (store.path, store.complete, store.fetch, store.withdraw):
        with pytest.raises(StoreError, match="leaves the store"):
            use("features", id)


RACE = """
import sys
from ssl_sweep.sweep.store.store import Store

storage, number = Store(sys.argv[1]).storage, sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
wins = sum(storage.create(f"race/{i}", f"{number}".encode()) for i in range(15))
counted = 0
while counted < 15:
    record = storage.read("counter")
    counted += storage.swap("counter", record.version, str(int(record.data) + 1).encode())
taken = 0
for i in range(15):
    record = storage.read(f"leases/{i}")
    taken += record is not None and storage.swap(f"leases/{i}", record.version, None)
print(wins, taken)
"""


def test_of_concurrent_processes_one_wins_and_no_swap_is_lost(address: str, storage: Storage) -> None:
    storage.create("counter", b"0")
    for i in range(15):
        storage.create(f"leases/{i}", b"held")
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, address, str(n)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(3)
    ]
    for racer in racers:
        assert racer.stdout is not None and racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    told = [tuple(map(int, racer.communicate(timeout=60)[0].split())) for racer in racers]
    assert sum(wins for wins, _ in told) == 15
    assert sum(taken for _, taken in told) == 15 and storage.names("leases") == []
    counter = storage.read("counter")
    assert counter is not None and counter.data == b"45"
    written = [storage.read(f"race/{i}") for i in range(15)]
    assert {record.data for record in written if record is not None} <= {b"0", b"1", b"2"}


def test_a_swap_that_was_killed_keeps_nobody_from_the_next(tmp_path: Path) -> None:
    """The record is there all the time, and the token of the dead is found."""
    storage = LocalStorage(tmp_path)
    storage.create("a", b"one")
    version = storage.read("a").version
    script = f"""
import os, signal
from pathlib import Path
from ssl_sweep.sweep.store.records import LocalStorage
LocalStorage.put = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
LocalStorage(Path({str(tmp_path)!r})).swap("a", {version!r}, b"two")
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert storage.read("a").data == b"one" and len(list(tmp_path.iterdir())) == 2
    assert storage.swap("a", version, b"three") is False
    assert storage.swap("a", version, b"three") is True
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_token_of_another_machine_counts_for_a_minute(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.create("a", b"one")
    version = storage.read("a").version
    token = tmp_path / f".a.{version[:16]}.swap.tmp"
    token.write_text("elsewhere 1")
    assert storage.swap("a", version, b"two") is False and token.exists()
    os.utime(token, (time.time() - 61,) * 2)
    assert storage.swap("a", version, b"two") is False and not token.exists()
    assert storage.swap("a", version, b"two") is True


# Servers that do not answer -------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_named_after_the_retry_time(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UnreachableError, match="s3://bucket/x: cannot write") as error:
        Store("s3://bucket/x", patience_s=0.5).check_writable()
    assert "AWS_ENDPOINT_URL" in error.value.report() and "secret" not in error.value.report()
    assert error.value.exit_code == 2


def test_a_bucket_that_is_not_there_is_said_at_once(s3: S3) -> None:
    with pytest.raises(StoreError, match="there is no such bucket"):
        Store("s3://nobody-made-this/x").check_writable()


class Refuses(http.server.BaseHTTPRequestHandler):
    """Answers as Amazon does to credentials that have expired, all in one line."""

    def do_GET(self) -> None:
        body = b"<Error><Code>ExpiredToken</Code><Token-0>planted-session</Token-0></Error>"
        self.send_response(400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def test_refused_credentials_are_said_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        env = {"ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}", "REGION": "us-east-1"}
        for name, value in (env | {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}).items():
            monkeypatch.setenv(f"AWS_{name}", value)
        storage = ObjectStorage("s3://bucket/x")
        for ask in (lambda: storage.names("probe"), lambda: storage.read("a"), lambda: storage.listing("a")):
            with pytest.raises(StoreError, match="ExpiredToken") as error:
                ask()
            assert "AWS_SECRET_ACCESS_KEY" in error.value.report()
            kept = failure_of(error.value)
            assert kept.kind == "store" and "planted" not in kept.message + kept.log_tail
        server.shutdown()


def test_credentials_that_nobody_gave_are_what_is_missing() -> None:
    asked = "Error performing PUT http://169.254.169.254/latest/api/token in 2ms - HTTP error"
    error = ObjectStorage("s3://bucket/x")._failed("read a", exceptions.GenericError(asked))
    assert "no credentials were found" in str(error) and "AWS_ACCESS_KEY_ID" in error.report()


def test_requests_wait_for_a_server_that_comes_back(s3: S3) -> None:
    """It stands still, as behind a network that is gone: what was asked is answered afterwards."""
    storage = ObjectStorage(s3.bucket())
    assert storage.create("a", b"one")
    os.kill(s3.pid, 19)
    thread = threading.Timer(1.0, os.kill, (s3.pid, 18))
    thread.start()
    try:
        assert storage.create("b", b"two") is True
        assert storage.read("a").data == b"one"
    finally:
        thread.join()


def test_a_put_whose_answer_was_lost_is_known_to_have_succeeded(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server takes the first request in and the connection is cut before its answer."""
    address = s3.bucket()
    with Cut(s3.port) as cut:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{cut.port}")
        storage = ObjectStorage(address, patience_s=20)
        assert storage.create("lease", b"mine") is True
        version = storage.read("lease").version
        cut.next()
        assert storage.swap("lease", version, b"mine again") is True
        cut.next()
        assert storage.create("lease", b"of another") is False
    assert cut.cuts == 3


class Cut:
    """A proxy that passes one request on and drops its answer, and passes everything after that."""

    def __init__(self, port: int) -> None:
        import socket

        self._to, self._armed, self.cuts = port, True, 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def next(self) -> None:
        self._armed = True

    def __enter__(self) -> Cut:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        import socket

        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def _serve(self) -> None:
        import socket

        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            with client, socket.create_connection(("127.0.0.1", self._to)) as server:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += client.recv(65536)
                head, _, body = request.partition(b"\r\n\r\n")
                fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
                while len(body) < int(fields.get(b"content-length", 0)):
                    body += client.recv(65536)
                server.sendall(head + b"\r\nConnection: close\r\n\r\n" + body)
                answer = b"".join(iter(lambda: server.recv(65536), b""))
                cut, self._armed = self._armed, False
                self.cuts += cut
                if not cut:
                    client.sendall(answer)


def test_a_stop_that_is_asked_for_on_one_node_is_seen_on_another(s3: S3, tmp_path: Path) -> None:
    store = Store(f"{s3.bucket()}/store")
    here, there = StopFlag(store, tmp_path / "here" / "flag"), StopFlag(store, tmp_path / "there" / "flag")
    assert not here.is_up()
    here.put_up()
    assert here.is_up()
    wait_for(lambda: store.there("stop/flag"), 30, "the flag in the bucket")
    wait_for(there.is_up, 30, "the stop on the other node")
    here.take_down()
    assert not store.there("stop/flag")
