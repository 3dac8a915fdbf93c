"""A store of the version before ids named images by digests, under the ids of today.

``older/store.tar.gz`` has its grid, its results table, its manifests and the tables of its datasets. The
other files are only filled up to their sizes here.
"""

from __future__ import annotations

import csv
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from s3_server import S3

from ssl_sweep.cli import cli
from ssl_sweep.sweep.errors import StoreError
from ssl_sweep.sweep.inspect import migrate as module
from ssl_sweep.sweep.inspect.migrate import migrate
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.planner import plan_grid
from ssl_sweep.sweep.results.table import results
from ssl_sweep.sweep.run.progress import LineListener
from ssl_sweep.sweep.run.run import run
from ssl_sweep.sweep.spec.specs import STAGES
from ssl_sweep.sweep.store.store import Store

MOVED = {"pretrain": 9, "features": 40, "probe": 67, "finetune": 1}
CHANGED = {"cell_id", "pretrain_id", "warmup_epochs"}
"""Columns that differ: ids, and the warm-up of a training in steps, which is counted in 100 epochs now."""


@pytest.fixture
def older(tmp_path: Path) -> Store:
    with tarfile.open(Path(__file__).parent / "older" / "store.tar.gz") as archive:
        archive.extractall(tmp_path / "store", filter="data")
    for name in ("grid.yaml", "results.csv"):
        shutil.move(tmp_path / "store" / name, tmp_path / name)
    store = Store(tmp_path / "store")
    for stage in STAGES:
        for manifest in store.manifests(stage):
            for name, size in manifest.files.items():
                path = store.root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.exists():
                    path.write_bytes(bytes(size))
    return store


def planned(store: Store, folder: Path | None = None) -> Plan:
    return plan_grid((folder or store.root.parent) / "grid.yaml", (), store)[1]


def test_nothing_runs_again_and_no_number_changes(older: Store) -> None:
    before = planned(older)
    assert len(before.to_run) == sum(MOVED.values())
    assert any("ssl-sweep migrate" in note.text for note in before.notes)
    said = CliRunner().invoke(cli, ["migrate", str(older.root), "--json"])
    assert json.loads(said.output) == {"moved": MOVED, "kept": []}
    plan = planned(older)
    assert not plan.to_run and not plan.notes
    with (older.root.parent / "results.csv").open() as file:
        known = list(csv.DictReader(file))
    shared = set(known[0]) - CHANGED
    now = [{k: v for k, v in row.items() if k in shared} for row in results(plan, older).to_pylist()]
    then = [{name: row[name] for name in shared} for row in known]
    assert sorted(map(_text, now)) == sorted(map(_text, then))
    # everything counts as executed once, under its new id, and the old folders are gone
    ids = {(stage.kind, stage.id) for stage in plan.stages}
    assert older.executed() == ids and len(older.executions()) == len(ids)
    assert {(stage, id) for stage in STAGES for id in older.ids(stage)} == ids
    assert migrate(str(older.root)).moved == {}


def _text(row: dict[str, Any]) -> str:
    def text(value: Any) -> str:
        return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

    return json.dumps({name: text(value) for name, value in row.items()}, sort_keys=True)


@pytest.mark.parametrize("at", [0, 3, 30, 80, 116])
def test_a_killed_migration_is_continued(older: Store, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    steps = iter(range(200))

    def killed(*args: Any) -> Any:
        if next(steps) == at:
            raise KeyboardInterrupt
        return real(*args)

    real, name = (Store.adopt, "adopt") if at % 2 else (Store.remove, "remove")
    with monkeypatch.context() as patch:
        patch.setattr(Store, name, killed)
        with pytest.raises(KeyboardInterrupt):
            migrate(str(older.root))
    assert migrate(str(older.root)).kept == ()
    assert not planned(older).to_run
    assert len(older.executions()) == sum(MOVED.values()) + 2


@pytest.mark.slow
def test_a_store_of_objects_is_migrated_on_the_server(older: Store, s3: S3) -> None:
    remote = Store(f"{s3.bucket()}/older")
    for path in sorted(older.root.rglob("*")):
        if path.is_file() and path.name != "executions.jsonl":
            remote.storage.put(str(path.relative_to(older.root)), path.read_bytes())
    remote.reconcile()
    found = migrate(remote.uri)
    assert (found.kept, found.moved) == ((), MOVED)
    again = Store(remote.uri)
    plan = planned(again, older.root.parent)
    assert not plan.to_run
    assert again.executed() == {(stage.kind, stage.id) for stage in plan.stages}


def test_features_that_were_deleted_after_their_use_are_not_needed(older: Store) -> None:
    for id in older.ids("features"):
        older.remove("features", id)
    found = migrate(str(older.root))
    assert found.kept == () and found.moved == {k: n for k, n in MOVED.items() if k != "features"}
    assert not planned(older).to_run


def test_what_cannot_be_mapped_is_listed_and_stays(older: Store) -> None:
    plan = planned(older)
    (gone,) = [stage.id for stage in plan.stages if stage.kind == "prepare" and stage.datasets == ("scenes",)]
    shutil.rmtree(older.path("prepare", gone))
    with pytest.raises(StoreError, match=r"their ids have changed.*ssl-sweep migrate"):
        run(
            older.root.parent / "grid.yaml", (), store_uri=str(older.root), tracking_uri=None, address=None,
            listener=LineListener(),
        )  # fmt: skip
    found = migrate(str(older.root))
    assert found.moved and found.kept
    assert {kept.stage for kept in found.kept} == {"pretrain", "features", "probe"}
    assert any("no longer has the prepared images" in kept.reason for kept in found.kept)
    assert all(older.manifest(kept.stage, kept.id) is not None for kept in found.kept)
    said = CliRunner().invoke(cli, ["migrate", str(older.root)])
    assert f"{len(found.kept)} could not be mapped" in said.output and said.exit_code == 0


def test_a_run_in_the_store_is_not_disturbed(older: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from ssl_sweep.sweep.errors import InfeasibleError
    from ssl_sweep.sweep.store.leases import driving

    with driving(older.storage), pytest.raises(InfeasibleError, match="may still be running"):
        migrate(str(older.root))
    assert module.MIGRATED not in {path.name for path in older.root.iterdir()}
