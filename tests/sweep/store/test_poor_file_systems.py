"""A store on a file system without hard links or without locks: the same promises."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ssl_sweep.data_ops.locks import lock
from ssl_sweep.data_ops.preparation import workspace as workspaces
from ssl_sweep.data_ops.preparation.workspace import workspace
from ssl_sweep.sweep.store.leases import Leases
from ssl_sweep.sweep.store.records import LocalStorage
from ssl_sweep.sweep.util.files import token_of

WITHOUT = [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK]


def refusing(number: int) -> Any:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.fixture(params=WITHOUT, ids=errno.errorcode.get)
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStorage:
    monkeypatch.setattr(os, "link", refusing(request.param))
    return LocalStorage(tmp_path)


def test_a_storage_without_hard_links_keeps_its_promises(storage: LocalStorage, tmp_path: Path) -> None:
    assert [storage.create("a/b", b"one"), storage.create("a/b", b"two")] == [True, False]
    first = storage.read("a/b")
    assert first is not None and first.data == b"one"
    assert storage.swap("a/b", "another version", b"three") is False
    assert storage.swap("a/b", first.version, b"three") is True
    assert storage.swap("a/b", first.version, b"four") is False
    second = storage.read("a/b")
    assert second is not None and second.data == b"three"
    assert storage.swap("a/b", second.version, None) is True
    assert storage.create("a/b", b"six") is True
    assert os.listdir(tmp_path / "a") == ["b"], "temporary files were left"


def test_of_many_writers_without_hard_links_one_wins(storage: LocalStorage) -> None:
    start, won = threading.Barrier(8), []

    def write(number: int) -> None:
        start.wait()
        if storage.create("record", f"{number}".encode() * 10_000):
            won.append(number)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = storage.read("record")
    assert len(won) == 1 and found is not None and found.data == f"{won[0]}".encode() * 10_000


def test_a_killed_writer_without_hard_links_holds_up_nothing(storage: LocalStorage, tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    from ssl_sweep.sweep.util.processes import here

    token_of(tmp_path / "record", "new").write_text(f"{here()} {dead.pid}")
    assert storage.create("record", b"complete") is True
    assert os.listdir(tmp_path) == ["record"]


def test_leases_without_hard_links(storage: LocalStorage) -> None:
    one, two = Leases(storage), Leases(storage)
    one.beat()
    two.beat()
    assert one.take("probe", "a" * 10) and not two.take("probe", "a" * 10)
    one.release("probe", "a" * 10)
    assert two.take("probe", "a" * 10)


def test_other_errors_of_a_link_are_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", refusing(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        LocalStorage(tmp_path).create("record", b"data")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EBADF], ids=errno.errorcode.get)
def test_a_workspace_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(number))
    fresh, old = tmp_path / ".writing-fresh", tmp_path / ".writing-old"
    for folder in (fresh, old):
        folder.mkdir()
        (folder / "part.npy").touch()
    monkeypatch.setattr(workspaces, "_untouched_s", lambda folder: 1e6 if folder == old else 1.0)
    with workspace(tmp_path) as one, workspace(tmp_path) as two:
        assert one != two and one.exists() and two.exists()
    assert fresh.exists(), "it may still be in use"
    assert not old.exists()


def test_other_errors_of_a_lock_are_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(errno.EIO))
    with (tmp_path / "lock").open("w") as file, pytest.raises(OSError, match=os.strerror(errno.EIO)):
        lock(file.fileno(), wait=True)
