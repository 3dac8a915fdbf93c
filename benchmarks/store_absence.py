"""An object store that refuses connections for a minute in the middle of a sweep.

    python benchmarks/store_absence.py [--seconds 60]

A real sweep on two plain processes against moto's S3 server, behind a relay that is closed once a training
has left its first checkpoint. Prints what became of it; exits with 1 where a stage failed, ran twice or the
table differs from that of an undisturbed sweep.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).parents[1]
sys.path.insert(0, str(HERE / "tests" / "helpers"))

from machine import header  # noqa: E402
from s3_server import S3  # noqa: E402

from ssl_sweep.sweep.planning.planner import plan_in  # noqa: E402
from ssl_sweep.sweep.results.table import results  # noqa: E402
from ssl_sweep.sweep.store.store import Store  # noqa: E402

GRID = """
name: absence
datasets:
  objects: {source: synthetic, domain: objects, train: 256, test: 64}
pretrain:
  - {domain: objects, images: 256, epochs: 60, batch: 32}
  - {method: random, seed: 0}
evaluate:
  - {domain: objects, labels: [32, all]}
compute: {checkpoint_every_steps: 20}
"""


class Relay:
    """Passes connections on to a port; while it is closed they are refused, and those there are cut."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._sockets: list[socket.socket] = []
        with socket.create_server(("127.0.0.1", 0)) as any_port:
            self.port = any_port.getsockname()[1]
        self.open()

    def open(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def close(self) -> None:
        for each in (self._listening, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._sockets = []

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                self._sockets += [client, server]
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    away_s = parser.parse_args().seconds
    print(header("obstore", "moto"))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "grid.yaml").write_text(GRID)
        server = S3(work / "requests").start()
        relay = Relay(server.port)
        try:
            os.environ |= server.env | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{relay.port}"}
            os.environ["OMP_NUM_THREADS"] = "1"
            tables = []
            for name, away in (("undisturbed", 0.0), ("disturbed", away_s)):
                os.environ["SSL_SWEEP_CACHE"] = str(work / name)
                store = Store(f"{server.bucket()}/{name}")
                took = sweep(work, store, relay, away)
                plan, store = plan_in(work / "grid.yaml", (), store.uri)
                tables.append(results(plan, store).to_pylist())
                counts = Counter((e.stage, e.id) for e in store.executions())
                print(
                    f"{name}: {took:.1f} s, {len(counts)} stages, each at most {max(counts.values())} times"
                )
                if set(counts.values()) != {1} or plan.to_run:
                    sys.exit(1)
        finally:
            server.stop()
    print(f"away for {away_s:.0f} s; the tables are {'the same' if tables[0] == tables[1] else 'DIFFERENT'}")
    sys.exit(tables[0] != tables[1])


def sweep(work: Path, store: Store, relay: Relay, away_s: float) -> float:
    """Seconds of one sweep, the store being away for `away_s` from the first checkpoint on."""
    started = time.monotonic()
    command = [sys.executable, str(HERE / "tests" / "helpers" / "light_run.py"), "grid.yaml", "--real"]
    with (work / "log").open("a") as log:
        arguments = ["--store", store.uri, "--without-mirror"]
        process = subprocess.Popen([*command, *arguments], cwd=work, stdout=log, stderr=log)
    if away_s:
        while not any(
            store.there(f"pretrain/{id}/checkpoint/checkpoint.pt") for id in store.storage.names("pretrain")
        ):
            time.sleep(0.05)
        relay.close()
        time.sleep(away_s)
        relay.open()
    if process.wait():
        sys.exit((work / "log").read_text() + f"the sweep ended with {process.returncode}")
    return time.monotonic() - started


if __name__ == "__main__":
    main()
