"""Fixtures that tests of several folders share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from s3_server import S3


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A real S3 server on loopback; it is there until the last test."""
    server = S3(tmp_path_factory.mktemp("s3") / "requests").start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def s3(s3_server: S3, tmp_path, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The server, known to this process and its children, and a node's cache that is empty."""
    for name, value in s3_server.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SSL_SWEEP_CACHE", str(tmp_path / "cache"))
    return s3_server
