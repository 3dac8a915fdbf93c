from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from ssl_sweep.data_ops.dataset.prepared import FIRST_RULE
from ssl_sweep.data_ops.sources.own_output import STORE_MARK
from ssl_sweep.sweep.errors import StoreError, UnreachableError
from ssl_sweep.sweep.spec.specs import FeatureSpec
from ssl_sweep.sweep.store.manifest import Failure, RunRecord
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.util.processes import here

SPEC = FeatureSpec("encoder001", "digest", fingerprint="fingerprint")
ID = "0123456789"


def write(store: Store, id: str = ID, content: bytes = b"features") -> None:
    store.path("features", id).mkdir(parents=True, exist_ok=True)
    for name in ("x.npy", "ids.npy"):
        partial = store.path("features", id) / f"{name}.{os.getpid()}"
        partial.write_bytes(content)
        partial.replace(store.path("features", id) / name)


def commit(store: Store, id: str = ID) -> bool:
    run = RunRecord.since(time.time() - 1, device="gpu", mode="workers")
    return store.commit("features", id, SPEC, ("encoder001",), {"shape": [2, 3]}, run)


@pytest.mark.smoke
def test_a_stage_is_finished_by_its_manifest_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    write(store)
    assert store.complete("features", ID) is None
    assert commit(store) is True
    manifest = store.complete("features", ID)
    assert manifest is not None
    assert manifest.spec == {
        "encoder": "encoder001",
        "images": "digest",
        "pixels": FIRST_RULE,
        "corruption": "none",
        "corruption_seed": 0,
        "representation": "h",
        "fingerprint": "fingerprint",
        "split": "train",
    }
    assert manifest.typed() == SPEC
    assert (manifest.version, manifest.upstream, manifest.outputs) == (1, ("encoder001",), {"shape": [2, 3]})
    assert (manifest.run.device, manifest.run.mode) == ("gpu", "workers")
    assert manifest.run.seconds == pytest.approx(1, abs=0.5)
    (line,) = store.executions()
    assert (line.stage, line.id, line.execution) == ("features", ID, manifest.run.execution)
    assert sorted(p.name for p in store.path("features", ID).iterdir()) == [
        "ids.npy",
        "manifest.json",
        "x.npy",
    ]


def test_a_stage_without_its_files_cannot_be_committed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(StoreError, match=r"x\.npy was not written"):
        commit(store)
    assert store.complete("features", ID) is None


@pytest.mark.smoke
def test_the_second_commit_loses(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write(store)
    assert [commit(store), commit(store)] == [True, False]
    assert len(store.executions()) == 1


@pytest.mark.parametrize("damage", ["lost", "short", "manifest"])
def test_damage_is_seen_and_the_stage_can_be_done_again(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    write(store)
    commit(store)
    folder = store.path("features", ID)
    if damage == "lost":
        (folder / "x.npy").unlink()
    elif damage == "short":
        (folder / "x.npy").write_bytes(b"fea")
    else:
        (folder / "manifest.json").write_text((folder / "manifest.json").read_text()[:40])
    assert store.complete("features", ID) is None
    write(store, content=b"other features")
    assert commit(store) is True
    assert store.complete("features", ID) is not None
    assert len(store.executions()) == 2


RACE = """
import sys, time
from pathlib import Path
from ssl_sweep.sweep.store.manifest import RunRecord
from ssl_sweep.sweep.spec.specs import FeatureSpec
from ssl_sweep.sweep.store.store import Store

root, number = Path(sys.argv[1]), sys.argv[2]
store = Store(root / "store")
(root / f"ready{number}").touch()
while not (root / "start").exists():
    time.sleep(0.001)
wins = 0
for i in range(20):
    id = f"stage{i:05d}"
    store.path("features", id).mkdir(parents=True, exist_ok=True)
    for name in ("x.npy", "ids.npy"):
        partial = store.path("features", id) / f"{name}.{number}"
        partial.write_bytes(b"features")
        partial.replace(store.path("features", id) / name)
    run = RunRecord.since(time.time() - 1, device="cpu", mode="workers")
    wins += store.commit("features", id, FeatureSpec("encoder001", "digest"), (), {}, run)
print(wins)
"""


def test_of_many_writers_one_wins(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", RACE, str(tmp_path), str(n)], stdout=subprocess.PIPE)
        for n in range(4)
    ]
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("ready*"))) < len(writers) and time.monotonic() < deadline:
        time.sleep(0.01)
    (tmp_path / "start").touch()
    assert sum(int(writer.communicate(timeout=60)[0]) for writer in writers) == 20
    assert [writer.returncode for writer in writers] == [0, 0, 0, 0]
    root = tmp_path / "store"
    store = Store(root)
    lines = (root / "executions.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["id"] for line in lines) == [f"stage{i:05d}" for i in range(20)]
    assert {e.execution for e in store.executions()} == {m.run.execution for m in store.manifests("features")}
    assert not list(root.rglob("*.tmp"))


def test_a_line_lost_by_a_kill_is_added_once(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import os, signal, time
        from ssl_sweep.sweep.store.manifest import RunRecord
        from ssl_sweep.sweep.store.executions import FileExecutionLog
        from ssl_sweep.sweep.spec.specs import FeatureSpec
        from ssl_sweep.sweep.store.store import Store
        FileExecutionLog.append = lambda self, manifest: os.kill(os.getpid(), signal.SIGKILL)
        store = Store({str(tmp_path)!r})
        store.path("features", {ID!r}).mkdir(parents=True)
        for name in ("x.npy", "ids.npy"):
            (store.path("features", {ID!r}) / name).write_bytes(b"x")
        spec = FeatureSpec("e", "digest", split="test")
        store.commit("features", {ID!r}, spec, (), {{}}, RunRecord.since(time.time()))
    """)
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -9
    store = Store(tmp_path)
    assert store.complete("features", ID) is not None
    assert store.executions() == []
    assert store.reconcile() == 1
    assert store.reconcile() == 0
    assert [e.id for e in store.executions()] == [ID]


def test_a_torn_line_hides_no_other(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write(store)
    commit(store)
    journal = tmp_path / "executions.jsonl"
    journal.write_text(journal.read_text() + '{"execution": "abc", "sta')
    write(store, "second")
    commit(store, "second")
    assert [e.id for e in store.executions()] == [ID, "second"]


def test_leftovers_of_the_dead_are_removed_and_of_the_living_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.path("features", ID)
    folder.mkdir(parents=True)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    living, host = os.getppid(), here()
    (folder / f".manifest.{host}.{dead.pid}.abc.tmp").touch()
    kept = {f".manifest.{host}.{living}.abc.tmp"}
    # The name of a machine whose containers share it says nothing about a process.
    stage = os.uname().nodename
    kept |= {f".manifest.{stage}-1.{dead.pid}.abc.tmp", f".manifest.far.example.org-7.{living}.abc.tmp"}
    for name in kept:
        (folder / name).touch()
    old = folder / f".x-npy.far.example.org-7.{living}.abc.tmp"
    old.touch()
    os.utime(old, (time.time() - 25 * 3600,) * 2)
    store.reconcile()
    assert {path.name for path in folder.iterdir()} == kept


def test_what_a_full_disk_cut_short_is_not_left(tmp_path: Path) -> None:
    """A limit on files' sizes stands for the disk; the drivers' records are written every few seconds."""
    storage = Store(tmp_path).storage
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        for write_to in (storage.put, storage.create):
            with pytest.raises(OSError, match=r"File too large.*drivers/a"):
                write_to("drivers/a", b"x" * 8192)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list((tmp_path / "drivers").iterdir())


def test_a_finished_training_leaves_no_half_of_a_checkpoint(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.path("pretrain", ID) / "checkpoint"
    folder.mkdir(parents=True)
    for name in ("checkpoint.pt", "checkpoint.pt.partial"):
        (folder / name).touch()
    store.drop_checkpoint("pretrain", ID)
    assert not folder.exists()


def test_failures_are_kept_until_the_stage_is_finished(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.failure("features", ID) is None
    store.fail("features", ID, Failure(kind="data", message="image 7 is damaged", attempt=2))
    failure = store.failure("features", ID)
    assert failure is not None
    assert (failure.kind, failure.message, failure.attempt) == ("data", "image 7 is damaged", 2)
    assert failure.time.endswith("+00:00")
    write(store)
    commit(store)
    assert store.failure("features", ID) is None
    store.clear_failure("features", ID)


def test_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Store("a/../b").root == tmp_path / "b"
    assert Store(f"file://{tmp_path}/with%20space").root == tmp_path / "with space"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match="ftp:// addresses are not supported"):
        Store("ftp://host/store")
    with pytest.raises(StoreError, match="holds a user or a password") as error:
        Store("s3://name:secret@bucket/store")
    assert "secret" not in error.value.report()
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="not a folder"):
        Store("file")


def test_a_store_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    Store(tmp_path / "new" / "store").check_writable()
    assert [path.name for path in (tmp_path / "new" / "store").iterdir()] == [STORE_MARK]
    below = Store(tmp_path / "file" / "store")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written: Not a directory") as error:
        below.check_writable()
    assert error.value.exit_code == 2


def test_a_manifest_of_a_newer_program_is_understood(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write(store)
    commit(store)
    path = store.path("features", ID) / "manifest.json"
    value = json.loads(path.read_text())
    del value["manifest_sha256"]
    path.write_text(json.dumps({**value, "lease": "x", "run": {**value["run"], "energy": 5}}))
    assert store.complete("features", ID) is not None


def test_a_store_whose_folder_is_replaced_by_an_empty_one_is_away(tmp_path: Path) -> None:
    """As if its file system were unmounted; a program that never saw it cannot know."""
    root = tmp_path / "store"
    store = Store(root)
    store.check_writable()
    store.storage.put("probe/a/manifest.json", b"{}")
    root.rename(tmp_path / "elsewhere")
    root.mkdir()
    for ask in (
        lambda: store.check_writable(),
        lambda: store.storage.put("leases/a", b"x"),
        lambda: store.storage.read("probe/a/manifest.json"),
        lambda: store.storage.names("probe"),
        lambda: store.manifest("probe", "a"),
        lambda: store.ids("probe"),
    ):
        with pytest.raises(UnreachableError, match="is away"):
            ask()
    assert not store.present() and list(root.iterdir()) == []
    root.rmdir()
    (tmp_path / "elsewhere").rename(root)
    assert store.present() and store.storage.names("probe") == ["a"]
