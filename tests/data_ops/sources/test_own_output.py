"""The program's own folders are recognised, and a folder of images is not taken for one."""

from __future__ import annotations

from pathlib import Path

from ssl_sweep.data_ops.sources.own_output import REPORT_FILES, STORE_MARK, is_own_output
from ssl_sweep.sweep.report.report import FINDINGS, PAGE, RESULTS
from ssl_sweep.sweep.store.store import Store


def test_a_store_is_recognised_once_it_is_used(tmp_path: Path) -> None:
    store = Store(tmp_path / "mine")
    store.check_writable()
    assert is_own_output(store.root)
    assert (store.root / STORE_MARK).is_file()


def test_a_report_is_recognised_by_its_three_files(tmp_path: Path) -> None:
    assert set(REPORT_FILES) == {PAGE, FINDINGS, RESULTS}
    for name in REPORT_FILES:
        assert not is_own_output(tmp_path)
        (tmp_path / name).write_text("")
    assert is_own_output(tmp_path)


def test_a_folder_of_images_is_no_output(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(b"")
    (tmp_path / "report.html").write_text("")
    assert not is_own_output(tmp_path)
    assert not is_own_output(tmp_path / "missing")
