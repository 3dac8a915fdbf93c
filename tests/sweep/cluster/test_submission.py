"""What is sent to a cluster, under which id, and how the store says that it ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from unittest import mock

import pytest

from ssl_sweep.sweep.cluster.connect import connect
from ssl_sweep.sweep.cluster.submission import prepare_submission
from ssl_sweep.sweep.errors import GridError, InfeasibleError, StoreError, UsageError

ROOT = Path(__file__).parents[3]
GRID = """
name: sent
datasets:
  objects: {source: synthetic, domain: objects, train: 60, test: 30}
pretrain:
  - {method: random}
evaluate:
  - {domain: objects, labels: 20}
"""


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "grid.yaml"
    path.write_text(GRID)
    return path


@pytest.mark.smoke
def test_the_id_is_that_of_sweep_grid_and_store(grid: Path, tmp_path: Path) -> None:
    def id(*overrides: str, store: str = "s3://bucket/a") -> str:
        return prepare_submission(grid, overrides, store, None).id

    assert id() == id() and id().startswith("ssl-sweep-sent-")
    assert len({id(), id("evaluate.0.labels=30"), id(store="s3://bucket/b")}) == 3
    moved = tmp_path / "elsewhere.yaml"
    moved.write_text("# a comment\n" + GRID)
    assert prepare_submission(moved, (), "s3://bucket/a", None).id == id()


def test_an_id_can_be_the_name_of_a_file(grid: Path) -> None:
    grid.write_text(GRID.replace("sent", "A_long.name-" * 40))
    id = prepare_submission(grid, (), "s3://bucket/a", None).id
    assert re.fullmatch("[a-z0-9-]{1,100}", id)
    grid.write_text(GRID.replace("sent", "A_long.name-" * 41))
    assert prepare_submission(grid, (), "s3://bucket/a", None).id != id


@pytest.mark.smoke
def test_the_next_id_is_one_that_no_job_has_had(grid: Path) -> None:
    asked = prepare_submission(grid, (), "s3://bucket/a", None)
    first = asked.id
    assert asked.next_id([f"{first}0", "another", f"x-{first}", f"{first}-x"]) == first
    assert asked.next_id([first]) == f"{first}-2"
    assert asked.next_id([f"{first}-2"]) == f"{first}-3"  # the first was deleted


def test_a_folder_is_sent_as_its_whole_path(
    grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = prepare_submission(grid, ["datasets.objects.domain=scenes"], "store", None, ["--max-gpu-hours=2"])
    assert asked.store == str(tmp_path / "store")
    assert f"--store {asked.store} --max-gpu-hours=2 --address auto" in asked.line


@pytest.mark.smoke
def test_what_is_packed_runs_by_itself(grid: Path, tmp_path: Path) -> None:
    folder = tmp_path / "packed"
    folder.mkdir()
    prepare_submission(grid, (), "store", None).pack(folder)
    command = [sys.executable, "-P", "-m", "ssl_sweep.cli", "validate", "grid.yaml"]
    done = subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and "is valid" in done.stdout, done.stderr


@pytest.mark.parametrize("uri", ["https://me:pw@host", "https://me@host/x", "postgresql://u:p@host/db"])
def test_passwords_do_not_travel(grid: Path, uri: str) -> None:
    with pytest.raises(UsageError, match="tracking address holds"):
        prepare_submission(grid, (), "store", uri)
    with pytest.raises(StoreError):
        prepare_submission(grid, (), "s3://me:pw@bucket/x", None)


def test_a_wrong_grid_is_not_sent(grid: Path) -> None:
    with pytest.raises(GridError):
        prepare_submission(grid, ["pretrain.0.epochs=none"], "store", None)


def test_without_the_store_there_is_no_verdict(grid: Path, tmp_path: Path) -> None:
    away = prepare_submission(grid, (), str(tmp_path / "not there"), None)
    assert away.verdict() == (
        None,
        f"this machine cannot read the sweep's store: found no store at {tmp_path / 'not there'}",
    )
    (tmp_path / "empty").mkdir()
    code, told = prepare_submission(grid, (), str(tmp_path / "empty"), None).verdict()
    assert code is None and told == "cells in the store: 3 missing"
    asked = prepare_submission(grid, (), str(tmp_path / "empty"), None)
    whole = grid.read_text()
    grid.write_text("no grid any more")
    assert asked.verdict() == (None, "cells in the store: 3 missing")
    grid.write_text(whole)
    (tmp_path / "loop").symlink_to("loop")
    code, told = prepare_submission(grid, (), str(tmp_path / "loop/store"), None).verdict()
    assert code is None and "this machine cannot read the sweep's store" in told


def test_a_store_below_a_file_is_no_store(grid: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file is not a folder"):
        prepare_submission(grid, (), str(tmp_path / "file/below"), None)


def test_a_wrong_priority_is_not_sent(grid: Path) -> None:
    command = [sys.executable, "-m", "ssl_sweep.cli", "submit", str(grid), "--store", "s3://bucket/a"]
    wrong = [*command, "--address", "http://127.0.0.1:9", "--priority", "nonsense"]
    done = subprocess.run(wrong, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "is not of the form axis=value" in done.stderr


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        ("http://127.0.0.1:8265", "ssl-sweep submit takes it; --address takes HOST:6379 here"),
        ("127.0.0.1:9", "ray start --head"),
        ("auto", "ray start --head"),  # a cluster that was started here and has ended since
    ],
)
def test_an_address_at_which_nobody_answers_is_refused_at_once(address: str, refused: str) -> None:
    with mock.patch.dict(os.environ, {"RAY_ADDRESS": "127.0.0.1:9"}):
        started = time.monotonic()
        with pytest.raises((InfeasibleError, UsageError)) as error, connect(address):
            raise AssertionError("connected")
    assert refused in str(error.value.hint) and time.monotonic() - started < 20


def test_a_ctrl_c_that_the_stream_swallows_is_heeded() -> None:
    class Deaf:
        async def tail(self, id: str) -> AsyncIterator[str]:
            with contextlib.suppress(asyncio.CancelledError):
                os.kill(os.getpid(), signal.SIGINT)
                await asyncio.sleep(60)
            yield "a line that came in the same moment"
            await asyncio.sleep(60)

    from ssl_sweep.sweep.cluster.jobs import _show

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(_show(Deaf(), "job", 0, lambda text: None))  # type: ignore[arg-type]
    assert time.monotonic() - started < 30
