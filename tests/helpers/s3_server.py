"""Moto's S3 server as a process of its own on loopback, and how tests start, use and end it.

It answers one request at a time: a conditional put of moto's is not atomic among threads, as it is in S3.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import urllib.request
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO


@dataclass
class S3:
    """A running server; `env` is what clients of it need."""

    log: Path
    port: int = 0
    _process: subprocess.Popen[str] | None = field(default=None, repr=False)

    def start(self) -> S3:
        """Where it was before, or at any free port."""
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self.port), str(self.log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def stop(self) -> None:
        """Everything in it is lost."""
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def requests(self) -> list[str]:
        """What it was asked so far, such as "GET /bucket/key"; listings have a "?"."""
        return self.log.read_text().splitlines()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def bucket(self) -> str:
        """The address of a new, empty bucket."""
        name = f"tests-{uuid.uuid4().hex[:12]}"
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/{name}", method="PUT"), timeout=30).close()
        return f"s3://{name}"


def serve(port: int, requests: TextIO) -> None:
    """Says its port; ends when whoever started it is gone."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Noted(WSGIRequestHandler):
        def log_request(self, code: object = "-", size: object = "-") -> None:
            print(self.command, self.path, file=requests, flush=True)

    app = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", port, app, threaded=False, request_handler=Noted)
    print(server.port, flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    with open(sys.argv[2], "a") as noted:
        serve(int(sys.argv[1]), noted)
