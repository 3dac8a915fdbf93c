"""Fixtures that tests of several folders share."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
from s3_server import S3


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import files without a smoke test for ``-m smoke``: imports would take most of its time."""
    if config.option.markexpr != "smoke" or not fnmatch(collection_path.name, "test_*.py"):
        return None
    return "mark.smoke" not in collection_path.read_text(encoding="utf-8") or None


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the tests, because runs note in the user's where each grid was last run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_SWEEP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A real S3 server on loopback, until the last test."""
    server = S3(tmp_path_factory.mktemp("s3") / "requests").start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def s3(s3_server: S3, tmp_path, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The server, in the environment of this process and its children, and an empty cache of a node."""
    for name, value in s3_server.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SSL_SWEEP_CACHE", str(tmp_path / "cache"))
    return s3_server
