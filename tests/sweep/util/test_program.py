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
from ssl_sweep.sweep.util.search_path import for_workers

ROOT = Path(ssl_sweep.__file__).parent
NAMES = ["csv", "json", "random", "numpy", "yaml", "click", "sweep", "data_ops", "torch", "ray"]
IMPORTS = "import ssl_sweep, csv, json, random, numpy, click, yaml, beside; print(ssl_sweep.__file__)"


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
def test_no_file_stands_in_for_a_module_of_the_driver(hostile: Path, path: str) -> None:
    given = f"{path.format(folder=hostile, root=ROOT)}{os.pathsep}{hostile.parent / 'beside'}"
    done = python(f"import ssl_sweep.cli; {IMPORTS}", hostile, PYTHONPATH=given)
    assert done.stdout == f"{ROOT / '__init__.py'}\n", done.stderr


@pytest.mark.parametrize("given", ["{folder}:{beside}", "{beside}:", "{beside}:{folder}/../hostile"])
def test_no_file_stands_in_for_a_module_of_a_worker(
    hostile: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    (hostile / "ssl_sweep.py").write_text("raise SystemExit('another ssl_sweep')")
    monkeypatch.chdir(hostile)
    paths = given.format(folder=hostile, beside=hostile.parent / "beside")
    monkeypatch.setenv("PYTHONPATH", paths)
    monkeypatch.setattr(sys, "path", ["", *paths.split(os.pathsep), *sys.path])
    done = python(IMPORTS, hostile, **for_workers())
    assert done.stdout == f"{ROOT / '__init__.py'}\n", done.stderr


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
        hint = "PYTHONPATH" if one_machine else "install the same version on every node"
        assert hint in error.value.report()
        assert failure_of(error.value).kind == "grid", "it must not be tried again"
    with pytest.raises(InfeasibleError):
        Runtime(store=str(tmp_path), stop_file=tmp_path / "stop", program=other).open_store()
