"""A killed preparation continues where it stopped, and images that a crash damaged are decoded again."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssl_sweep.data_ops.dataset.prepared import PreparedDataset
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.preparation import decode_split as decoded
from ssl_sweep.data_ops.preparation.prepare import prepare
from ssl_sweep.data_ops.sources.registry import SyntheticSource

ROOT = Path(__file__).parents[3]
SOURCE = SyntheticSource("objects", 1300, 300)
KILLED = """
import os, signal, sys
from pathlib import Path
from ssl_sweep.data_ops.preparation.prepare import prepare
from ssl_sweep.data_ops.sources.registry import SyntheticSource

calls = 0
def progress(done, total):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

prepare(SyntheticSource("objects", 1300, 300), 32, Path(sys.argv[1]), progress)
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def killed_after(chunks: int, out_dir: Path) -> Path:
    """Where a process killed -9 after some chunks left its work."""
    command = [sys.executable, "-c", KILLED, str(out_dir), str(chunks)]
    assert subprocess.run(command, cwd=ROOT).returncode == -signal.SIGKILL
    (work,) = out_dir.iterdir()
    return work


@pytest.fixture
def decodes(monkeypatch) -> list[str]:
    """The names of the images that are decoded."""
    names: list[str] = []
    decode = decoded._decode

    def counted(raw, size, skip):
        names.append(raw.name)
        return decode(raw, size, skip)

    monkeypatch.setattr(decoded, "_decode", counted)
    return names


def test_the_second_run_decodes_what_is_missing(tmp_path, decodes):
    prepare(SOURCE, 32, tmp_path / "whole")
    whole = contents(tmp_path / "whole")
    for chunks, missing in ((2, 1600 - 1024), (3, 300), (4, 0)):  # 512, 512, 276 training images, 300 test
        target = tmp_path / f"killed{chunks}"
        work = killed_after(chunks, target)
        decodes.clear()
        reported: list[int] = []
        prepare(SOURCE, 32, target, lambda done, total: reported.append(done))  # noqa: B023
        assert len(decodes) == len(set(decodes)) == missing
        assert reported[0] == min(512 * chunks, 1300) and reported[-1] == 1600
        assert contents(target) == whole
        assert not work.exists()


def test_what_a_crash_spoilt_is_decoded_again(tmp_path, decodes):
    prepare(SOURCE, 32, tmp_path / "whole")
    image = 3 * 32 * 32

    def cut_journal(work: Path) -> None:
        journal = work / "train.journal"
        journal.write_bytes(journal.read_bytes()[:-10])

    def cut_pixels(work: Path) -> None:
        with (work / "train.pixels").open("r+b") as file:
            file.truncate(600 * image)

    def spoil_pixels(work: Path) -> None:
        with (work / "train.pixels").open("r+b") as file:
            file.seek(700 * image)
            file.write(b"\\0\\1\\2")

    for spoil, good in ((cut_journal, 512), (cut_pixels, 512), (spoil_pixels, 512)):
        target = tmp_path / spoil.__name__
        spoil(killed_after(2, target))
        decodes.clear()
        prepare(SOURCE, 32, target)
        assert len(decodes) == 1600 - good
        assert contents(target) == contents(tmp_path / "whole")


def test_work_on_another_source_or_size_is_not_taken_over(tmp_path, decodes):
    work = killed_after(2, tmp_path / "a")
    decodes.clear()
    prepare(SOURCE, 16, tmp_path / "a")
    assert len(decodes) == 1600
    assert not work.exists()


def test_while_another_process_has_the_work_this_one_does_its_own(tmp_path, decodes):
    from ssl_sweep.data_ops.preparation.workspace import _locked

    work = killed_after(2, tmp_path / "a")
    decodes.clear()
    with _locked(work) as mine:
        assert mine
        prepare(SOURCE, 32, tmp_path / "a")
        assert work.exists()
    assert len(decodes) == 1600


def test_after_an_error_finished_chunks_stay_for_the_next_run(tmp_path, decodes, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(np.lib.format, "open_memmap", full_disk)
        with pytest.raises(OSError, match="no space"):
            prepare(SOURCE, 32, tmp_path / "a")
    with pytest.raises(DataError, match="prepare the dataset first"):
        PreparedDataset(tmp_path / "a")
    decodes.clear()
    prepare(SOURCE, 32, tmp_path / "a")
    assert decodes == []
    prepare(SOURCE, 32, tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def full_disk(*args: object, **kwargs: object) -> None:
    raise OSError("no space left")


def test_what_reads_back_wrong_is_not_published(tmp_path, monkeypatch):
    save = np.save
    monkeypatch.setattr(np, "save", lambda path, array: save(path, array[:-1]))
    with pytest.raises(DataError, match="train reads back wrong"):
        prepare(SyntheticSource("objects", 30, 10), 16, tmp_path / "a")
    assert not (tmp_path / "a" / "dataset.json").exists()
