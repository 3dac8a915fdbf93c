"""A Ray head of one's own, with a dashboard and on free ports, and nothing left of it at the end.

`ray stop` would end every Ray on the machine, those of others too: here each process carries a mark in its
environment, and only marked ones are ended.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

_MARK = "SSL_SWEEP_TEST_HEAD"


class Head:
    """`autoscaling`: node types of the workers that Ray's fake provider starts as processes, and how many of
    all together."""

    def __init__(
        self,
        cpus: float = 1,
        autoscaling: dict[str, dict[str, object]] | None = None,
        most: int = 3,
        idle_s: float = 5.0,
        env: dict[str, str] | None = None,
    ) -> None:
        self._mark = uuid.uuid4().hex
        self.env = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex}  # of who may join
        self._scratch = tempfile.TemporaryDirectory(prefix="ray-head-")
        for _ in range(3):  # a port may be taken between here and its use
            if self._start(cpus, autoscaling, most, idle_s, env or {}):
                return
            self._end()
        text = Path(self._scratch.name, "start.log").read_text()
        self.stop()
        raise AssertionError(f"the head did not start\n{text}")

    def _start(
        self,
        cpus: float,
        autoscaling: dict[str, dict[str, object]] | None,
        most: int,
        idle_s: float,
        env: dict[str, str],
    ) -> bool:
        from ray._private.services import get_node_ip_address

        ports = _free_ports(6)
        self.address = f"{get_node_ip_address()}:{ports[0]}"
        self.dashboard = f"http://127.0.0.1:{ports[1]}"
        self.client = f"ray://127.0.0.1:{ports[2]}"
        options = [
            f"--port={ports[0]}",
            f"--dashboard-port={ports[1]}",
            f"--ray-client-server-port={ports[2]}",
            f"--dashboard-agent-listen-port={ports[3]}",
            f"--dashboard-agent-grpc-port={ports[4]}",
            f"--metrics-export-port={ports[5]}",
            "--min-worker-port=0",
            "--max-worker-port=0",
            "--include-dashboard=true",
            "--object-store-memory=100000000",
            f"--num-cpus={cpus:g}",
            f"--temp-dir={self._scratch.name}",
        ]
        if autoscaling is not None:
            options.append(f"--autoscaling-config={self._autoscaler(cpus, autoscaling, most, idle_s)}")
        with Path(self._scratch.name, "start.log").open("w") as log:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", *options],
                env=self._environment() | env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self._answers() and self._listens(ports[2])

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return (
            os.environ
            | self.env
            | {
                _MARK: self._mark,
                "PATH": path,  # `python` of a job
                "OMP_NUM_THREADS": "1",
                "RAY_USAGE_STATS_ENABLED": "0",
                "AUTOSCALER_UPDATE_INTERVAL_S": "1",
                "RAY_FAKE_CLUSTER": "1",
            }
        )

    def _autoscaler(self, cpus: float, types: dict[str, dict[str, object]], most: int, idle_s: float) -> Path:
        head = {"resources": {"CPU": cpus}, "node_config": {}, "max_workers": 0}
        config = {
            "cluster_name": "fake",
            "max_workers": most,
            "upscaling_speed": 1.0,
            "idle_timeout_minutes": idle_s / 60,
            "provider": {
                "type": "fake_multinode",
                "gcs_address": self.address,
                "use_node_id_as_ip": True,  # they share one
                "disable_node_updaters": True,
                "disable_launch_config_check": True,
            },
            "auth": {},
            "docker": {},
            "available_node_types": {"ray.head.default": head, **types},
            "head_node_type": "ray.head.default",
            "initialization_commands": [],
            "setup_commands": [],
            "head_setup_commands": [],
            "worker_setup_commands": [],
            "head_start_ray_commands": [],
            "worker_start_ray_commands": [],
            "file_mounts": {},
            "cluster_synced_files": [],
            "file_mounts_sync_continuously": False,
            "rsync_exclude": [],
            "rsync_filter": [],
        }
        path = Path(self._scratch.name, "autoscaling.json")
        path.write_text(json.dumps(config))
        return path

    def _answers(self) -> bool:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.dashboard}/api/version", timeout=5).close()
                return True
            except urllib.error.HTTPError:  # it wants a token: it is there
                return True
            except http.client.HTTPException:  # somebody else's port by now
                return False
            except OSError:
                time.sleep(0.3)
        return False

    def _listens(self, port: int) -> bool:
        """Ray's client server comes later than the dashboard."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                return True
            except OSError:
                time.sleep(0.3)
        return False

    def stop(self) -> None:
        self._end()
        self._scratch.cleanup()

    def _end(self) -> None:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=15)
        deadline = time.monotonic() + 10
        while (left := self._marked()) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.2)

    def _marked(self) -> list[int]:
        mark = f"{_MARK}={self._mark}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return [pid for pid in found if pid != os.getpid()]


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
