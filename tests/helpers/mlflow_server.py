"""MLflow's own server on loopback, and PostgreSQL behind it, as processes that a test starts and ends."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import wait_for

_DEBIAN = Path("/usr/lib/postgresql")


@contextmanager
def mlflow_server(
    database: str, artifacts: str, env: dict[str, str] | None = None
) -> Iterator[tuple[str, int]]:
    """Its address, and its process group."""
    port = free_port()
    argv = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--artifacts-destination", artifacts]
    process = subprocess.Popen(
        [*argv, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ
        | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_BACKEND_STORE_URI": database}
        | (env or {}),
    )
    try:
        wait_for(lambda: _listens(port), 120, "MLflow's server")
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def postgres_programs() -> Path | None:
    """Where PostgreSQL's programs are: on the path, or where Debian's packages put them."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    return max((path.parent for path in _DEBIAN.glob("*/bin/initdb")), default=None)


@contextmanager
def postgres(programs: Path, password: str) -> Iterator[str]:
    """The address of an empty database on loopback, in a folder of its own; root hands it to a user of less
    power, as PostgreSQL asks."""
    user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder, port = Path(name), free_port()
        secret = folder / "password"
        secret.write_text(password)
        if user:
            shutil.chown(folder, "nobody", "nogroup")
            shutil.chown(secret, "nobody", "nogroup")
        made = [
            f"--pgdata={folder / 'data'}",
            "--auth=scram-sha-256",
            "--username=sweep",
            f"--pwfile={secret}",
        ]
        quick = ["--no-sync", "--no-locale", "--encoding=UTF8"]
        subprocess.run(
            [programs / "initdb", *made, *quick], check=True, capture_output=True, cwd=folder, **user
        )
        listening = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
        process = subprocess.Popen(
            [programs / "postgres", "-D", folder / "data", "-p", str(port), *listening, "-c", "fsync=off"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            **user,
        )
        try:
            wait_for(lambda: _listens(port), 60, "PostgreSQL")
            yield f"postgresql+psycopg2://sweep:{password}@127.0.0.1:{port}/postgres"
        finally:
            process.send_signal(signal.SIGINT)  # disconnects everybody and ends in order
            process.wait()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0
