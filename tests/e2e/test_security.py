"""Secrets stay in the environment, and a run listens on loopback alone: looked at in a real run on Ray."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from bench import Bench

pytestmark = pytest.mark.exhaustive

SMALLEST = """
name: smallest
datasets:
  objects: {source: synthetic, domain: objects, train: 64, test: 32}
  torn: {source: folder, train: torn/train, test: torn/test}
pretrain:
  - {domain: objects, images: 64, epochs: 1, batch: 32}
evaluate:
  - {domain: objects, labels: 32}
  - {domain: torn, labels: all}
compute: {workers: 2}
"""
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "planted-aws-9f2c",
    "AWS_ACCESS_KEY_ID": "planted-key-77ab",
    "MLFLOW_TRACKING_PASSWORD": "planted-mlflow-51d0",
    "MLFLOW_TRACKING_TOKEN": "planted-token-c3e8",
    "WANDB_API_KEY": "planted-other-0b1e",
}
PASSWORD = "planted-address-e6a4"
PLANTED = [value.encode() for value in (*SECRETS.values(), PASSWORD)]


@dataclass
class Watched:
    """What was seen of a run's processes: their arguments, and where they listened."""

    said: str = ""
    arguments: set[bytes] = field(default_factory=set)
    listening: set[str] = field(default_factory=set)
    ray: list[Path] = field(default_factory=list)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    made = Bench(tmp_path_factory.mktemp("secrets"), env=SECRETS)
    made.write(SMALLEST)
    for name in ("train/cat", "train/dog", "test/cat", "test/dog"):
        (made.folder / "torn" / name).mkdir(parents=True)
        (made.folder / "torn" / name / "1.png").write_bytes(b"\x89PNG broken")
    return made


@pytest.fixture(scope="module")
def watched(bench: Bench) -> Watched:
    """A run that fails in part, at a tracker that is down, its address with a password in the environment;
    then everything else that writes."""
    found = Watched()
    sessions = Path(tempfile.gettempdir()) / "ray"
    tracker = {"MLFLOW_TRACKING_URI": f"http://anna:{PASSWORD}@127.0.0.1:9"}
    process = Bench(bench.folder, env=SECRETS | tracker).start("run", "grid.yaml", "--store", bench.store)
    deadline = time.monotonic() + 240
    while process.poll() is None:
        assert time.monotonic() < deadline
        pids = list(_session(process.pid))
        found.arguments.update(_read(pid, "cmdline") for pid in pids)
        found.listening |= _listening(pids)
        time.sleep(0.2)
    out, err = process.communicate()
    assert process.returncode == 1, err  # the torn dataset
    assert "MLflow is behind" in err and "http://***@127.0.0.1:9" in err
    found.said = out + err
    found.ray = list(sessions.glob(f"session_*_{process.pid}"))
    where = ["grid.yaml", "--store", bench.store]
    for words in (["sync", *where], ["report", *where, "-o", "report"]):
        result = bench.call(*words)
        found.said += result.stdout + result.stderr
    torn = next((bench.folder / bench.store / "prepare").glob("*/error.json")).parent.name
    found.said += bench.call("logs", torn, "--store", bench.store).stdout
    return found


def test_no_secret_is_written_or_said(bench: Bench, watched: Watched) -> None:
    """The store, MLflow's database and artifacts, logs, errors, report, Ray's own logs, arguments, output."""
    assert (bench.folder / bench.store / "mlflow" / "mlflow.db").exists()
    assert (bench.folder / "report" / "report.html").exists() and watched.ray
    files = [path for root in (bench.folder, *watched.ray) for path in root.rglob("*") if path.is_file()]
    assert len(files) > 40
    leaks = [str(path) for path in files if any(secret in path.read_bytes() for secret in PLANTED)]
    assert leaks == []
    assert [text for text in watched.arguments if any(secret in text for secret in PLANTED)] == []
    assert [secret for secret in PLANTED if secret in watched.said.encode()] == []


def test_a_run_listens_on_loopback_alone(watched: Watched) -> None:
    """Ray's private instance, its workers and what they start."""
    assert len(watched.listening) >= 5  # Ray's control service, node manager, workers
    assert {address for address in watched.listening if not address.startswith("127.0.0.1:")} == set()


def _session(leader: int) -> Iterator[int]:
    """The processes of a session: those that a command started, whoever has become their parent since."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.getsid(int(name)) == leader:
                    yield int(name)
            except ProcessLookupError:
                continue


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _listening(pids: list[int]) -> set[str]:
    """`address:port` of every TCP socket on which one of these processes takes connections."""
    sockets = set()
    for pid in pids:
        try:
            sockets |= {os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")}
        except OSError:
            continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                found.add(_address(fields[1]))
    return found


def _address(text: str) -> str:
    """The kernel's `0100007F:1F90`, and IPv4 addresses in IPv6 form, as people write them."""
    address, port = text.split(":")
    if len(address) == 8 or address.startswith("0000000000000000FFFF0000"):
        four = bytes.fromhex(address[-8:])[::-1]
        address = ".".join(map(str, four))
    return f"{address}:{int(port, 16)}"
