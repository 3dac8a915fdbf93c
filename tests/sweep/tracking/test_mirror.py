"""The mirror under faults: every cell once at the tracker, whatever happened to writers, server or database.

Real MLflow: its SQLite store, and for one test its server. Stages are finished by decree.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from bench import wait_for
from mlflow_server import mlflow_server, postgres, postgres_programs
from s3_server import S3

from ssl_sweep.sweep.commands.doctor import diagnose
from ssl_sweep.sweep.errors import DamagedError
from ssl_sweep.sweep.store.leases import driving
from ssl_sweep.sweep.tracking.location import TrackerError, open_tracker
from ssl_sweep.sweep.tracking.mirror import Mirror, sync_grid
from ssl_sweep.sweep.tracking.mlflow_client import Tracker, local_uri
from ssl_sweep.sweep.tracking.runs import MirroredRuns, cell_run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of its database's library

GRID = """\
name: demo
datasets:
  objects: {source: synthetic, domain: objects, train: 1000, test: 200}
  scenes: {source: synthetic, domain: scenes, train: 800, test: 200}
pretrain:
  - {domain: objects, images: [400, 600], epochs: 2, batch: 64}
evaluate:
  - {domain: objects, labels: [50, all], seed: [0, 1]}
"""
OTHER = GRID.replace("name: demo", "name: other")
SYNC = (
    "import sys; from pathlib import Path; from ssl_sweep.sweep.tracking.mirror import sync_grid; "
    "print(sync_grid(Path(sys.argv[1]), (), sys.argv[2], None))"
)
NO_POSTGRES = (
    "PostgreSQL is not here: no initdb and postgres; apt-get install postgresql"
    if postgres_programs() is None
    else "PostgreSQL's driver is not here: pip install psycopg2-binary"
    if importlib.util.find_spec("psycopg2") is None
    else ""
)


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables, which take it seconds to make."""
    folder = tmp_path_factory.mktemp("mlflow")
    Tracker(local_uri(folder), "another sweep", None)
    return folder / "mlflow.db"


@pytest.fixture(autouse=True)
def database(sweeps: Any, empty_database: Path) -> Path:
    """The store's own, without a run."""
    database: Path = sweeps.store.root / "mlflow" / "mlflow.db"
    database.parent.mkdir(parents=True)
    return Path(shutil.copy(empty_database, database))


@pytest.fixture
def finished(sweeps: Any) -> Any:
    """A sweep of 2 trainings and 8 cells, which 6 probes answer, all finished; its plan."""
    sweeps.finish(sweeps.prepared(GRID).to_run)
    return sweeps.plan(GRID)


def runs_in(database: str, sweep: str = "demo", state: str = "FINISHED") -> Counter[str]:
    """id → number of runs of that state at a tracker, read from its database."""
    query = (
        "select t.value from tags t join runs r on r.run_uuid = t.run_uuid join experiments e"
        " on e.experiment_id = r.experiment_id where t.key = 'ssl_sweep.id' and e.name = :sweep"
        " and r.lifecycle_stage = 'active' and r.status = :state"
    )
    engine = sqlalchemy.create_engine(database, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        found = connection.execute(sqlalchemy.text(query), {"sweep": sweep, "state": state})
        return Counter(row[0] for row in found)


def logged(sweeps: Any, state: str = "FINISHED") -> Counter[str]:
    """The same, in the store's own database."""
    return runs_in(local_uri(sweeps.store.root / "mlflow"), state=state)


def once(plan: Any) -> Counter[str]:
    return Counter([*(stage.id for stage in plan.pretrainings), *plan.cell_stages])


@contextmanager
def mirror_of(sweeps: Any, plan: Any, uri: str | None = None) -> Iterator[Mirror]:
    with driving(sweeps.store.storage) as leases:
        yield Mirror(plan, sweeps.store, uri, False, leases)


def synced(sweeps: Any, uri: str | None = None) -> int:
    return sync_grid(sweeps.folder / "grid.yaml", (), str(sweeps.store.root), uri)


def tracker_check(sweeps: Any) -> Any:
    """What ``doctor`` says about the store's tracker."""
    return next(check for check in diagnose(str(sweeps.store.root), None, None) if check.name == "tracker")


def test_stages_that_finish_later_are_written_once(sweeps: Any) -> None:
    plan = sweeps.prepared(GRID)
    with mirror_of(sweeps, plan) as mirror:
        mirror.start()
        for stage in plan.to_run:
            sweeps.finish([stage])
            mirror.finished(stage)
        assert mirror.finish() == ""
        assert logged(sweeps) == once(plan)
    with mirror_of(sweeps, sweeps.plan(GRID)) as again:
        assert again.finish() == ""
    assert logged(sweeps) == once(plan)
    assert synced(sweeps) == 0


def test_what_a_killed_writer_left_half_written_is_there_once(
    sweeps: Any, finished: Any, database: Path
) -> None:
    code = (
        "import os, sys, itertools\n"
        "from mlflow import MlflowClient\n"
        "from ssl_sweep.sweep.tracking.mirror import sync_grid\n"
        "from pathlib import Path\n"
        "left = itertools.count(int(sys.argv[3]), -1)\n"
        "def counted(call):\n"
        "    def inner(*a, **k):\n"
        "        result = call(*a, **k)\n"
        "        if next(left) == 0: os.kill(os.getpid(), 9)\n"
        "        return result\n"
        "    return inner\n"
        "for name in ('create_run', 'log_batch', 'log_artifact', 'set_terminated'):\n"
        "    setattr(MlflowClient, name, counted(getattr(MlflowClient, name)))\n"
        "sync_grid(Path(sys.argv[1]), (), sys.argv[2], None)\n"
    )
    argv = [sys.executable, "-c", code, str(sweeps.folder / "grid.yaml"), str(sweeps.store.root), "8"]
    assert subprocess.run(argv, timeout=120).returncode == -signal.SIGKILL
    assert sum(logged(sweeps, "RUNNING").values()) == 1
    with closing(sqlite3.connect(database)) as connection, connection:
        # What the half-written run says differs from what it should: it cannot be completed.
        (run,) = connection.execute("select run_uuid from runs where status = 'RUNNING'").fetchone()
        connection.execute("delete from params where run_uuid = ? and key = 'method'", [run])
        connection.execute("insert into params (run_uuid, key, value) values (?, 'method', 'older')", [run])
        connection.execute(
            "insert or replace into params (run_uuid, key, value) values (?, 'domain', 'older')", [run]
        )
    assert synced(sweeps) > 0
    assert logged(sweeps) == once(finished)
    assert not logged(sweeps, "RUNNING")


def test_two_writers_at_once_write_each_run_once(sweeps: Any, finished: Any) -> None:
    argv = [sys.executable, "-c", SYNC, str(sweeps.folder / "grid.yaml"), str(sweeps.store.root)]
    writers = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    wrote = [int(writer.communicate(timeout=120)[0]) for writer in writers]
    assert sum(wrote) == sum(once(finished).values())
    assert logged(sweeps) == once(finished)


def test_runs_doubled_by_writers_of_two_stores_are_reduced_to_one(sweeps: Any, finished: Any) -> None:
    """Leases are of one store; two stores at one tracker can cross. The next look removes them."""
    mirrored = MirroredRuns(finished, sweeps.store, models=False)
    runs = [run for stage in mirrored.stages for run in mirrored.runs(stage)]
    first, second = (open_tracker(sweeps.store, None, finished.sweep) for _ in range(2))
    first.log(runs)
    second.log(runs[:3])
    assert sum(logged(sweeps).values()) == len(runs) + 3
    assert synced(sweeps) == 0
    assert logged(sweeps) == once(finished)


def test_a_damaged_training_is_named_and_all_else_is_written(sweeps: Any, finished: Any) -> None:
    bad = finished.pretrainings[0]
    (sweeps.store.path("pretrain", bad.id) / "encoder.json").write_bytes(b"r3sult")
    for _ in range(2):
        with mirror_of(sweeps, finished) as mirror:
            assert f"pretrain/{bad.id}/encoder.json" in mirror.finish()
        assert logged(sweeps) == once(finished) - Counter([bad.id])
    with pytest.raises(DamagedError, match=bad.id):
        synced(sweeps)


def test_a_run_that_mlflow_refuses_is_named_and_all_else_is_written(
    sweeps: Any, finished: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = next(iter(finished.cell_stages))

    def before_1970(cell: Any, manifest: Any) -> Any:
        run = cell_run(cell, manifest)
        return replace(run, ended_ms=-1) if run.id == bad else run

    monkeypatch.setattr("ssl_sweep.sweep.tracking.runs.cell_run", before_1970)
    with mirror_of(sweeps, finished) as mirror:
        said = mirror.finish()
    assert said.startswith("MLflow refuses 1 run or model, and has all others. The first is simclr objects")
    assert mirror.final
    assert logged(sweeps) == once(finished) - Counter([bad])
    assert not logged(sweeps, "RUNNING")
    with pytest.raises(TrackerError, match="refuses 1 run"):
        synced(sweeps)
    monkeypatch.undo()
    assert synced(sweeps) == 1
    assert logged(sweeps) == once(finished)


def test_an_encoder_that_cannot_be_exported_keeps_its_run(sweeps: Any, finished: Any) -> None:
    mirrored = MirroredRuns(finished, sweeps.store, models=True)
    stage = finished.pretrainings[0]
    tracker = open_tracker(sweeps.store, None, finished.sweep)
    assert tracker.log(mirrored.runs(stage)) == 1  # its files are not those of an encoder
    assert tracker.existing() == {stage.id}
    ((id, why),) = tracker.refused.items()
    assert id == f"{stage.id}/model" and why.startswith("the model of simclr")
    assert tracker.log(mirrored.runs(stage)) == 0


def test_a_database_of_another_mlflow_is_named_with_the_way_out(
    sweeps: Any, finished: Any, database: Path
) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("update alembic_version set version_num = 'ff0000000000'")
    with mirror_of(sweeps, finished) as mirror:
        said = mirror.finish()
    assert "another version of MLflow" in said and f"delete the folder {database.parent}" in said
    checked = tracker_check(sweeps)
    assert checked.state == "problem" and str(database.parent) in checked.hint
    with pytest.raises(TrackerError, match="another version of MLflow") as error:
        synced(sweeps)
    assert str(database.parent) in str(error.value.hint)
    shutil.rmtree(database.parent)
    argv = [sys.executable, "-c", SYNC, str(sweeps.folder / "grid.yaml"), str(sweeps.store.root)]
    subprocess.run(argv, timeout=120, check=True)  # this process still has connections to the old one
    assert logged(sweeps) == once(finished)


def test_a_locked_database_is_waited_for(sweeps: Any, finished: Any, database: Path, capfd: Any) -> None:
    lock = sqlite3.connect(database, check_same_thread=False)
    lock.execute("begin exclusive")
    free = threading.Timer(3, lock.close)
    free.start()
    with mirror_of(sweeps, finished) as mirror:
        assert mirror.finish() == ""
    free.join()
    assert logged(sweeps) == once(finished)
    assert capfd.readouterr().err == ""


def test_a_database_that_stays_locked_costs_seconds_and_is_named(
    sweeps: Any, finished: Any, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ssl_sweep.sweep.tracking.mirror._GIVE_UP_S", 0.5)
    with closing(sqlite3.connect(database)) as lock:
        lock.execute("begin exclusive")
        with mirror_of(sweeps, finished) as mirror:
            said = mirror.finish()
    assert said.startswith("8 finished stages are not yet at sqlite:///")
    assert synced(sweeps) > 0
    assert logged(sweeps) == once(finished)


def test_a_server_that_never_answers_costs_seconds_and_its_password_stays_secret(
    sweeps: Any, finished: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://anna:s3cret@127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        with mirror_of(sweeps, finished, uri) as mirror:
            said = mirror.finish()
        assert "8 finished stages are not yet at http://***@127.0.0.1" in said
        assert "s3cret" not in said and "timed out" in said
        assert time.monotonic() - started < 60
    assert synced(sweeps) == sum(once(finished).values())  # the store's own database has them all the same


@dataclass(frozen=True)
class Served:
    """An MLflow server, its process group, and the database behind it."""

    uri: str
    group: int
    database: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, empty_database: Path, s3_server: S3) -> Iterator[Served]:
    """On PostgreSQL where that is installed, else on SQLite; its artifacts in a bucket."""
    with contextlib.ExitStack() as stack:
        if NO_POSTGRES:
            database = local_uri(tmp_path_factory.mktemp("server"))
            shutil.copy(empty_database, database.removeprefix("sqlite:///"))
        else:
            programs = postgres_programs()
            assert programs is not None
            database = stack.enter_context(postgres(programs, "planted-9d1c"))
        server = mlflow_server(database, f"{s3_server.bucket()}/mlflow", s3_server.env)
        uri, group = stack.enter_context(server)
        yield Served(uri, group, database)


@pytest.mark.slow
def test_a_server_that_is_gone_in_the_middle_and_comes_back(
    sweeps: Any, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stopped, so that what was sent meanwhile is done when it goes on, after we asked again."""
    monkeypatch.setattr("ssl_sweep.sweep.tracking.mirror._EVERY_S", 0.3)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    plan = sweeps.prepared(GRID)
    half = len(plan.to_run) // 2
    with mirror_of(sweeps, plan, served.uri) as mirror:
        mirror.start()
        for stage in plan.to_run[:half]:
            sweeps.finish([stage])
            mirror.finished(stage)
        wait_for(lambda: runs_in(served.database), 60, "a first run at the server")
        os.killpg(served.group, signal.SIGSTOP)
        for stage in plan.to_run[half:]:
            sweeps.finish([stage])
            mirror.finished(stage)
        time.sleep(4)  # it does not answer
        os.killpg(served.group, signal.SIGCONT)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")  # it has much to answer now
        assert mirror.finish() == ""
    synced(sweeps, served.uri)
    assert runs_in(served.database) == once(plan)
    assert not runs_in(served.database, state="RUNNING")


@pytest.mark.slow
@pytest.mark.skipif(bool(NO_POSTGRES), reason=NO_POSTGRES)
def test_mlflow_on_postgresql_with_artifacts_in_a_bucket(sweeps: Any, served: Served, s3_server: S3) -> None:
    sweeps.finish(sweeps.prepared(OTHER).to_run)
    plan = sweeps.plan(OTHER)
    assert synced(sweeps, served.uri) == sum(once(plan).values())
    assert synced(sweeps, served.uri) == 0
    assert served.database.startswith("postgresql") and runs_in(served.database, "other") == once(plan)
    kept = [line.split("?")[0] for line in s3_server.requests() if line.startswith("PUT")]
    assert sum(name.endswith("/encoder.safetensors") for name in kept) >= len(plan.pretrainings)
