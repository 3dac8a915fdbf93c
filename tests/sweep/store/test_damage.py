"""Damage of the store on both kinds of storage is detected, named and repaired on request, and never used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ssl_sweep.cli import cli
from ssl_sweep.sweep.errors import DamagedError, StoreError
from ssl_sweep.sweep.execution.runtime import Runtime
from ssl_sweep.sweep.inspect.verify import Damage, verify
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.notes import unprepared
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.stages.perform import perform_light
from ssl_sweep.sweep.store.store import Store

GRID = """\
name: small
datasets:
  objects: {source: synthetic, domain: objects, train: 1000, test: 200}
pretrain:
  - {domain: objects, images: 400, epochs: 2, batch: 64}
evaluate:
  - {domain: objects, labels: [50, all]}
"""

REAL = """\
name: real
datasets:
  objects: {source: synthetic, domain: objects, train: 60, test: 20}
pretrain:
  - {domain: objects, images: 60, epochs: 1, batch: 30}
evaluate:
  - {domain: objects, labels: 50}
"""


@pytest.fixture(params=["folder", "objects"])
def done(request: pytest.FixtureRequest, sweeps: Any) -> Any:
    """A sweep whose stages are all finished, with another node's empty cache if it has one."""
    if request.param == "objects":
        sweeps = type(sweeps)(sweeps.folder, f"{request.getfixturevalue('s3').bucket()}/store")
    sweeps.finish(sweeps.prepared(GRID).to_run)
    assert not sweeps.plan(GRID).to_run
    return sweeps


def stage_of(plan: Plan, kind: str) -> PlannedStage:
    return next(stage for stage in plan.stages if stage.kind == kind)


def lost(store: Store, key: str) -> None:
    store.storage.delete(key)


def short(store: Store, key: str) -> None:
    store.storage.put(key, store.storage.read(key).data[:-3])


def changed(store: Store, key: str) -> None:
    data = bytearray(store.storage.read(key).data)
    data[len(data) // 2] ^= 1
    store.storage.put(key, bytes(data))


def another_digit(store: Store, key: str) -> None:
    """Still a manifest, and another result."""
    data = store.storage.read(key).data
    at = data.index(b'"seconds": ') + len(b'"seconds": ')
    store.storage.put(key, data[:at] + (b"7" if data[at : at + 1] != b"7" else b"6") + data[at + 1 :])


def elsewhere(sweeps: Any, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store as another process on another node opens it."""
    monkeypatch.setenv("SSL_SWEEP_CACHE", str(sweeps.folder / "another cache"))
    return Store(sweeps.store.uri)


CASES: list[tuple[str, str, Callable[[Store, str], None], str, str]] = [
    ("pretrain", "encoder.safetensors", lost, "is gone", "missing"),
    ("pretrain", "encoder.safetensors", short, "has 3 bytes, but 6 were committed", "damaged"),
    ("pretrain", "encoder.safetensors", changed, "differs from what was committed", ""),
    ("pretrain", "manifest.json", short, "cannot be read", "damaged"),
    ("pretrain", "manifest.json", another_digit, "is not as it was written", "damaged"),
]


@pytest.mark.parametrize(("kind", "file", "harm", "said", "reason"), CASES)
def test_damage_is_named_and_the_stage_done_again_on_request(
    done: Any,
    monkeypatch: pytest.MonkeyPatch,
    kind: Any,
    file: str,
    harm: Callable[[Store, str], None],
    said: str,
    reason: str,
) -> None:
    stage = stage_of(done.plan(GRID), kind)
    key = f"{kind}/{stage.id}/{file}"
    done.store.fetch(kind, stage.id)  # it was sound a moment ago, and read then
    harm(done.store, key)
    store = done.store = elsewhere(done, monkeypatch)
    with pytest.raises(DamagedError, match=key):
        store.fetch(kind, stage.id)
    planned = {n.id: n.reason for n in done.plan(GRID).to_run}
    assert planned == ({stage.id: reason} if reason else {})
    grid = done.write(GRID)
    for asked in (None, grid):
        found = verify(store.uri, asked)
        (damage,) = found.damages
        assert damage == Damage(kind, stage.id, key, damage.what)
        assert said in damage.what and found.exit_code == 1
    repaired = verify(store.uri, grid, repair=True)
    assert repaired.withdrawn == ((kind, stage.id),)
    (again,) = done.plan(GRID).to_run
    assert (again.id, again.reason) == (stage.id, "missing")
    done.finish([again])
    assert not done.plan(GRID).to_run and verify(store.uri).damages == ()
    store.fetch(kind, stage.id)
    assert [e.id for e in store.executions()].count(stage.id) == 2


@pytest.mark.parametrize("repair", [True, False])
def test_a_damaged_dataset_is_verified_planned_around_and_prepared_again(sweeps: Any, repair: bool) -> None:
    """Its keys are read in planning, which must neither fail nor use them."""
    grid, runtime = (
        sweeps.write(REAL),
        Runtime(store=str(sweeps.store.root), stop_file=sweeps.folder / "stop"),
    )
    sweeps.store.check_writable()
    (stage,) = sweeps.plan(REAL).prepares
    perform_light([stage], runtime)
    sound = sweeps.plan(REAL)
    sweeps.finish(n for n in sound.to_run if n.kind != "prepare")
    key = f"prepare/{stage.id}/data/train_keys.npy"
    kept = sweeps.store.storage.read(key).data
    changed(sweeps.store, key)
    called = CliRunner().invoke(cli, ["status", str(grid), "--store", sweeps.store.uri])
    assert called.exit_code == 0 and f"{key} is not the file that was committed" in called.output
    sweeps.store = Store(sweeps.store.uri)
    plan = sweeps.plan(REAL)
    (again,) = plan.prepares
    assert (again.id, again.reason) == (stage.id, "damaged")
    assert all(n.provisional for n in plan.stages if n.kind != "prepare")
    assert any(note.text.startswith("damaged: objects counts as not prepared") for note in plan.notes)
    found = verify(sweeps.store.uri, grid, repair=repair)
    assert found.damages == (Damage("prepare", stage.id, key, "differs from what was committed"),)
    assert found.withdrawn == ((("prepare", stage.id),) if repair else ())
    (outcome,) = perform_light([again], runtime)
    assert (outcome.status, outcome.executed) == ("complete", True)
    assert sweeps.store.storage.read(key).data == kept
    plan = sweeps.plan(REAL)
    assert not plan.to_run and not unprepared(plan.prepares, plan.notes)
    assert verify(sweeps.store.uri, grid).exit_code == 0


def test_a_damaged_copy_in_a_nodes_cache_is_fetched_again(s3: Any, sweeps: Any) -> None:
    remote = type(sweeps)(sweeps.folder, f"{s3.bucket()}/store")
    remote.finish(remote.prepared(GRID).to_run)
    id = stage_of(remote.plan(GRID), "features").id
    copy = remote.store.fetch("features", id) / "x.npy"
    copy.write_bytes(b"rubbish")
    assert remote.store.fetch("features", id) / "x.npy" == copy and copy.read_bytes() == b"result"


def test_planning_lists_and_never_asks_for_each_stage(
    s3: Any, sweeps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = type(sweeps)(sweeps.folder, f"{s3.bucket()}/store")
    remote.finish(remote.prepared(GRID).to_run)
    for known in (False, True):  # on another node, and there once more
        remote.store = elsewhere(remote, monkeypatch)
        before = len(s3.requests())
        assert not remote.plan(GRID).to_run
        bucket = remote.store.uri.split("/")[2]
        asked = [line for line in s3.requests()[before:] if f"/{bucket}" in line]
        single = [line for line in asked if "list-type" not in line]
        assert len(asked) - len(single) == 6  # five kinds of stages, and the predictions
        assert all("manifest.json" in line or "/data/" in line for line in single)
        assert bool(single) is not known


def test_older_manifests_are_read_and_counted(sweeps: Any) -> None:
    sweeps.finish(sweeps.prepared(GRID).to_run)
    stage = stage_of(sweeps.plan(GRID), "features")
    path = sweeps.store.path("features", stage.id) / "manifest.json"
    value = json.loads(path.read_text())
    del value["sha256"], value["manifest_sha256"]
    path.write_text(json.dumps(value))
    sweeps.store.fetch("features", stage.id)
    found = verify(str(sweeps.store.root))
    assert (found.without_checksum, found.exit_code) == (2, 0)


def test_a_manifest_that_names_files_outside_is_damaged(sweeps: Any) -> None:
    sweeps.finish(sweeps.prepared(GRID).to_run)
    stage = stage_of(sweeps.plan(GRID), "features")
    path = sweeps.store.path("features", stage.id) / "manifest.json"
    value = json.loads(path.read_text())
    del value["manifest_sha256"]
    path.write_text(json.dumps({**value, "files": {"../../etc/passwd": 1}}))
    (damage,) = verify(str(sweeps.store.root)).damages
    assert damage.what.startswith("cannot be read")
    with pytest.raises(DamagedError):
        sweeps.store.fetch("features", stage.id)


def test_a_manifest_in_another_stages_place_is_damage(sweeps: Any) -> None:
    sweeps.finish(sweeps.prepared(GRID).to_run)
    one, other = (n for n in sweeps.plan(GRID).stages if n.kind == "features")
    places = [sweeps.store.path("features", stage.id) / "manifest.json" for stage in (one, other)]
    places[0].write_bytes(places[1].read_bytes())
    (damage,) = verify(str(sweeps.store.root)).damages
    assert (damage.id, damage.what) == (one.id, f"is the manifest of features {other.id}")


def test_what_cannot_be_read_is_a_finding_and_the_rest_is_looked_at(sweeps: Any) -> None:
    """A folder stands for an unreadable file, since the tests may run as root."""
    sweeps.finish(sweeps.prepared(GRID).to_run)
    plan = sweeps.plan(GRID)
    first, second = (n for n in plan.stages if n.kind == "features")
    file = sweeps.store.path("features", first.id) / "x.npy"
    manifest = sweeps.store.path("features", second.id) / "manifest.json"
    for path in (file, manifest):
        path.unlink()
        path.mkdir()
    lost(sweeps.store, f"pretrain/{stage_of(plan, 'pretrain').id}/encoder.json")
    shutil.rmtree(sweeps.store.root / "finetune", ignore_errors=True)
    (sweeps.store.root / "finetune").write_text("")
    called = CliRunner().invoke(cli, ["verify", "--store", sweeps.store.uri, "--repair", "--json"])
    found = json.loads(called.output)
    said = {damage["file"]: damage["what"] for damage in found["damages"]}
    assert said[f"features/{first.id}/x.npy"].startswith(("cannot be read", "has "))
    assert said[f"features/{second.id}/manifest.json"] == "cannot be read: Is a directory"
    assert said["finetune/"] == "cannot be listed: Not a directory"
    assert sorted(stage for stage, _ in found["withdrawn"]) == ["features", "pretrain"]
    (stuck,) = found["stuck"]
    assert stuck.startswith(f"features/{second.id} cannot be withdrawn (Is a directory); a file is needed")


def test_a_journal_that_cannot_be_read_is_named(sweeps: Any) -> None:
    sweeps.finish(sweeps.prepared(GRID).prepares)
    journal = sweeps.store.root / "executions.jsonl"
    journal.unlink()
    journal.mkdir()
    with pytest.raises(StoreError, match=r"executions.jsonl cannot be read: Is a directory"):
        sweeps.plan(GRID)


def test_the_command(sweeps: Any) -> None:
    sweeps.finish(sweeps.prepared(GRID).to_run)
    stage = stage_of(sweeps.plan(GRID), "pretrain")
    changed(sweeps.store, f"pretrain/{stage.id}/encoder.json")
    called = CliRunner().invoke(cli, ["verify", "--store", sweeps.store.uri])
    assert called.exit_code == 1
    assert f"damaged: pretrain/{stage.id}/encoder.json differs from what was committed" in called.output
    assert "--repair withdraws" in called.output
    called = CliRunner().invoke(cli, ["verify", "--store", sweeps.store.uri, "--repair", "--json"])
    assert called.exit_code == 1 and json.loads(called.output)["withdrawn"] == [["pretrain", stage.id]]
    called = CliRunner().invoke(cli, ["verify", str(sweeps.write(GRID)), "--store", sweeps.store.uri])
    assert called.exit_code == 0 and "no damage" in called.output


def test_a_store_that_is_not_there_is_not_sound(tmp_path: Path) -> None:
    called = CliRunner().invoke(cli, ["verify", "--store", str(tmp_path / "typo")])
    assert isinstance(called.exception, StoreError) and "found no store at" in str(called.exception)


def test_nothing_is_written_without_repair(sweeps: Any) -> None:
    sweeps.finish(sweeps.prepared(GRID).to_run)
    lost(sweeps.store, f"pretrain/{stage_of(sweeps.plan(GRID), 'pretrain').id}/encoder.json")
    before = sorted((str(p), p.stat().st_mtime_ns) for p in Path(sweeps.store.root).rglob("*"))
    assert verify(sweeps.store.uri).exit_code == 1
    assert sorted((str(p), p.stat().st_mtime_ns) for p in Path(sweeps.store.root).rglob("*")) == before
