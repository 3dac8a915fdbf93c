"""The next run removes what killed processes leave outside a store's folder."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from ssl_sweep.sweep.execution.stop import StopFlag
from ssl_sweep.sweep.run.run import _tidy
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.util.files import temporary
from ssl_sweep.sweep.util.scratch import new_scratch, remove_scratch, scratch

_HOLDS = """
import sys, time
from ssl_sweep.sweep.util.scratch import new_scratch
folder = new_scratch("tune")
(folder / "trials").mkdir()
(folder / "trials" / "file").write_text("x")
print(folder, flush=True)
time.sleep(600)
"""


@pytest.fixture
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def held() -> tuple[subprocess.Popen[str], Path]:
    """A process with a folder, and that folder."""
    process = subprocess.Popen([sys.executable, "-c", _HOLDS], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def killed(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_a_killed_processs_folder_is_removed_and_a_live_ones_is_not(temp: Path) -> None:
    (dead, lost), (live, kept) = held(), held()
    try:
        killed(dead)
        assert (lost / "trials" / "file").exists() and lost.parent == kept.parent
        store = Store(temp / "store")
        store.check_writable()
        _tidy(store)
        assert not lost.exists() and (kept / "trials" / "file").exists()
    finally:
        killed(live)
    with scratch("job") as folder:  # creating one removes them too
        assert not kept.exists() and [*folder.parent.iterdir()] == [folder]
    assert not folder.exists()


def test_the_folders_are_nobody_elses(temp: Path) -> None:
    folder = new_scratch("train")
    for path in (folder, folder.parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    folder.parent.chmod(0o777)
    remove_scratch()
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


def test_a_link_that_somebody_put_there_is_not_followed(temp: Path) -> None:
    (temp / "theirs").mkdir()
    (temp / f"ssl-sweep-{os.getuid()}").symlink_to(temp / "theirs")
    remove_scratch()
    folder = new_scratch("train")
    assert folder.parent == temp and not list((temp / "theirs").iterdir())


def test_the_wish_of_a_killed_driver_is_taken_out_of_the_bucket(s3: Any, temp: Path) -> None:
    store = Store(f"{s3.bucket()}/store")
    process, lost = held()
    killed(process)
    # Named by that process, and by one on another machine that may still need it.
    theirs = f".stop.{lost.name.partition('.')[2].partition('.')[2]}"
    names = [theirs, temporary(store.root, "stop").name, f".stop.elsewhere-1.{process.pid}.abc.tmp"]
    for name in names:
        store.storage.put(f"stop/{name}", b"stop")
    _tidy(store)
    assert store.storage.names("stop") == sorted(names[1:])
    flag = StopFlag(store, store.root / names[1])
    assert store.there(f"stop/{names[1]}")
    flag.take_down()
