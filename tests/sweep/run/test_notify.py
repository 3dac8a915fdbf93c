"""The notification of how a run ended, also after an unexpected error."""

from __future__ import annotations

import http.server
import json
import threading
from pathlib import Path

import pytest

from ssl_sweep.sweep.errors import InfeasibleError
from ssl_sweep.sweep.run.notify import notified
from ssl_sweep.sweep.run.run import RunResult


@pytest.mark.parametrize(
    ("error", "code"), [(InfeasibleError("too large for s3://me:pw@host"), 3), (ValueError("a bug"), 1)]
)
def test_a_run_that_ends_by_an_error_is_told_and_the_error_goes_on(
    tmp_path: Path, error: Exception, code: int
) -> None:
    def work() -> RunResult:
        raise error

    file, said = tmp_path / "told.json", list[str]()
    with pytest.raises(type(error)):
        notified(f"sh -c 'cat > {file}'", work, said.append)
    told = json.loads(file.read_text())
    assert (told["outcome"], told["exit_code"]) == ("failed", code) and "pw" not in told["message"]
    assert said == []


@pytest.mark.parametrize(
    "target",
    [
        "HTTP://127.0.0.1:9/services/planted",
        "  http://127.0.0.1:9/services/planted",
        "http://127.0.0.1:9/services/planted x",
        "http://127.0.0.1:port/planted",
        "httpx://hooks.example.org/planted",
        "'an open quote/planted",
    ],
)
def test_the_address_of_a_webhook_is_never_repeated(target: str) -> None:
    def work() -> RunResult:
        raise InfeasibleError("too large")

    said = list[str]()
    with pytest.raises(InfeasibleError):
        notified(target, work, said.append)
    (line,) = said
    assert line.startswith("the notification failed: ") and "planted" not in line


@pytest.mark.parametrize("scheme", ["HTTP", " http"])
def test_a_webhook_is_known_by_its_scheme_however_it_is_written(scheme: str) -> None:
    got = list[bytes]()

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(404 if self.path == "/gone" else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    def work() -> RunResult:
        raise InfeasibleError("too large")

    said = list[str]()
    with http.server.HTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for path in ("there", "gone"):
            with pytest.raises(InfeasibleError):
                notified(f"{scheme}://127.0.0.1:{server.server_port}/{path}", work, said.append)
        server.shutdown()
    assert [json.loads(body)["exit_code"] for body in got] == [3, 3]
    assert said == ["the notification failed: the server answered 404"]
