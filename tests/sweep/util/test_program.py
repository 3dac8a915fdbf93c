"""Driver and workers run one program: the installed one, of one version."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import ssl_sweep
from ssl_sweep.sweep.errors import InfeasibleError
from ssl_sweep.sweep.execution.failures import failure_of
from ssl_sweep.sweep.execution.runtime import Runtime
from ssl_sweep.sweep.util import program
from ssl_sweep.sweep.util.program import require_program, this_program

ROOT = Path(ssl_sweep.__file__).parent
NAMES = ["csv", "json", "random", "numpy", "yaml", "click", "ssl_sweep", "sweep", "data_ops", "torch", "ray"]
SCRIPT = """
import sys
from _ssl_sweep_start import installed_first, for_workers
installed_first()
import csv, json, random
import numpy, click, yaml
import ssl_sweep.cli
import beside
print(beside.__name__, ssl_sweep.__file__)
"""


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder with a file for each name that is imported; ``beside`` has another module."""
    folder, beside = tmp_path / "hostile", tmp_path / "beside"
    folder.mkdir()
    beside.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text("raise SystemExit(f'{__file__} was imported')")
    (beside / "beside.py").touch()
    return folder


def python(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-c", code]
    env = os.environ | environment
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.smoke
@pytest.mark.parametrize("path", ["{folder}", ".:", "{folder}:{root}", ":{root}:{folder}:"])
def test_no_file_stands_in_for_a_module(hostile: Path, path: str) -> None:
    # The script's own start is imported from the clone here; installed, it lies in site-packages.
    start = f"import sys; sys.path.append({str(ROOT)!r})\n"
    given = f"{path.format(folder=hostile, root=ROOT)}{os.pathsep}{hostile.parent / 'beside'}"
    done = python(start + SCRIPT, hostile, PYTHONPATH=given)
    assert done.stdout == f"beside {ROOT / '__init__.py'}\n", done.stderr


def test_workers_search_in_the_drivers_order(hostile: Path) -> None:
    start = f"import sys; sys.path.append({str(ROOT)!r})\n"
    tell = "from _ssl_sweep_start import for_workers; print(for_workers()['PYTHONPATH'])"
    given = f"{hostile}{os.pathsep}{hostile.parent / 'beside'}"
    path = python(start + tell, hostile, PYTHONPATH=given).stdout.strip()
    done = python("import csv, json, numpy, ssl_sweep, beside; print(csv.__file__)", hostile, PYTHONPATH=path)
    assert done.returncode == 0 and str(hostile) not in done.stdout, done.stderr


def test_the_digest_is_that_of_the_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def digest() -> str:
        this_program.cache_clear()
        return this_program().digest

    real = digest()
    try:
        monkeypatch.setattr(program, "FOLDER", tmp_path)
        (tmp_path / "cli.py").write_text("a = 1")
        (tmp_path / "sweep").mkdir()
        found = {digest()}
        (tmp_path / "sweep/run.py").write_text("b = 1")
        found.add(digest())
        (tmp_path / "sweep/run.py").write_text("b = 2")
        found.add(digest())
        (tmp_path / "sweep/run.py").rename(tmp_path / "sweep/ran.py")
        found.add(digest())
        (tmp_path / "tests").mkdir()
        (tmp_path / "tests/test_a.py").touch()
        (tmp_path / "sweep/__pycache__").mkdir()
        (tmp_path / "sweep/__pycache__/ran.cpython-311.pyc").touch()
        assert digest() in found and len(found) == 4 and real not in found
    finally:
        this_program.cache_clear()


def test_another_program_than_the_drivers_is_refused(tmp_path: Path) -> None:
    mine = this_program()
    moved = replace(mine, folder="elsewhere")
    edited = replace(mine, digest="0" * 12)
    other = replace(edited, version="9.9", folder="elsewhere")
    require_program(mine, one_machine=False)
    require_program(moved, one_machine=True)
    require_program(edited, one_machine=True)
    for expected, one_machine in ((edited, False), (other, True), (other, False)):
        with pytest.raises(InfeasibleError, match="but the driver runs ssl-sweep") as error:
            require_program(expected, one_machine=one_machine)
        assert str(mine) in str(error.value) and str(expected) in str(error.value)
        assert "install the same version on every node" in error.value.report()
        assert failure_of(error.value).kind == "grid", "it must not be tried again"
    with pytest.raises(InfeasibleError):
        Runtime(store=str(tmp_path), stop_file=tmp_path / "stop", program=other).open_store()
