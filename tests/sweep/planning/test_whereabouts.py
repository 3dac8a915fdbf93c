"""A store that is not there is an error that says where the grid was last run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner, Result

from ssl_sweep.cli import cli
from ssl_sweep.sweep.errors import InfeasibleError, StoreError
from ssl_sweep.sweep.planning.whereabouts import last_store, note_run
from ssl_sweep.sweep.run.progress import Listener
from ssl_sweep.sweep.run.run import run


@pytest.fixture
def grid(sweeps: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A grid that is finished in ``sweeps.store``, as the cache of this machine has it."""
    monkeypatch.setenv("SSL_SWEEP_CACHE", str(tmp_path / "cache"))
    sweeps.finish(sweeps.prepared().to_run)
    path: Path = sweeps.write()
    note_run(path, sweeps.store.uri)
    return path


def call(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


COMMANDS = [["status"], ["results"], ["results", "--per-class"], ["report", "-o", "out"], ["sync"]]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_another_store_is_an_error_that_names_the_last_one(
    sweeps: Any, grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    called = call(words[0], grid, *words[1:])  # the default store: a folder of the working folder
    assert isinstance(called.exception, StoreError) and called.exception.exit_code == 2
    said = str(called.exception)
    assert said.startswith(f"no store at {tmp_path / 'elsewhere' / 'ssl-sweep-store'}; ")
    assert said.endswith(f"this grid was last run with --store {sweeps.store.uri}")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_explain_and_logs_name_the_last_store_too(sweeps: Any, grid: Path, tmp_path: Path) -> None:
    stage = sweeps.plan().pretrainings[0]
    for command in ("explain", "logs"):
        called = call(command, grid, stage.id, "--store", tmp_path / "wrong")
        assert isinstance(called.exception, StoreError) and sweeps.store.uri in str(called.exception)


def test_a_store_of_other_grids_has_nothing_of_this_one(sweeps: Any, grid: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    called = call("results", grid, "--store", tmp_path / "other")
    assert isinstance(called.exception, StoreError)
    assert "other has nothing of this grid; this grid was last run with" in str(called.exception)


def test_without_a_record_the_way_out_is_said(sweeps: Any, tmp_path: Path) -> None:
    called = call("results", sweeps.write(), "--store", tmp_path / "wrong")
    assert isinstance(called.exception, StoreError)
    assert str(called.exception) == f"no store at {tmp_path / 'wrong'}"
    assert called.exception.hint == "name the store with --store, or run the grid first"


def test_a_plan_of_a_new_store_names_the_last_one(sweeps: Any, grid: Path, tmp_path: Path) -> None:
    called = call("plan", grid, "--store", tmp_path / "new", "--json")
    assert called.exit_code == 0
    notes = json.loads(called.stdout)["notes"]
    assert any(f"is empty; this grid was last run with --store {sweeps.store.uri}" in note for note in notes)
    again = call("plan", grid, "--store", sweeps.store.uri, "--json")
    assert not any("last run" in note for note in json.loads(again.stdout)["notes"])


def test_a_run_says_that_its_store_is_new_and_notes_it(sweeps: Any, grid: Path, tmp_path: Path) -> None:
    class Quiet(Listener):
        said: ClassVar[list[str]] = []

        def say(self, text: str) -> None:
            self.said.append(text)

    class Absent:
        def join(self, address: str | None) -> Any:
            raise InfeasibleError("no cluster")

    known, new = sweeps.store.uri, str(tmp_path / "new")
    options: Any = {"tracking_uri": None, "address": None, "listener": Quiet(), "workplace": Absent()}
    for _ in range(2):
        with pytest.raises(InfeasibleError, match="no cluster"):
            run(grid, (), store_uri=new, **options)
    assert [text for text in Quiet.said if "store" in text] == [
        f"{new} is a new store; this grid was last run with --store {known}"
    ]
    assert last_store(grid) == new


def test_a_lost_or_damaged_record_is_no_record(sweeps: Any, grid: Path, tmp_path: Path) -> None:
    assert last_store(grid) == sweeps.store.uri
    (record,) = (tmp_path / "cache" / "grids").iterdir()
    for damage in (b"", b"[]", b"\xff", b'{"grid": 1}'):
        record.write_bytes(damage)
        assert last_store(grid) == ""
    record.unlink()
    assert last_store(grid) == ""
    assert call("results", grid, "--store", sweeps.store.uri).exit_code == 0


def test_old_records_are_forgotten(
    sweeps: Any, grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ssl_sweep.sweep.planning.whereabouts._MOST", 3)
    for i in range(5):
        note_run(tmp_path / f"{i}.yaml", sweeps.store.uri)
    assert len(list((tmp_path / "cache" / "grids").iterdir())) == 3
    assert last_store(tmp_path / "4.yaml") == sweeps.store.uri


def test_a_cache_that_cannot_be_written_stops_nothing(
    sweeps: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SSL_SWEEP_CACHE", str(tmp_path / "file"))
    note_run(tmp_path / "grid.yaml", sweeps.store.uri)
    assert last_store(tmp_path / "grid.yaml") == ""
