"""The one import name: what is installed, what it loads, and that nothing in a working folder replaces it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHIPPED = ("__init__.py", "cli.py", "py.typed", "sweep", "ssl_core", "data_ops")
FOLDERS = ("sweep", "ssl_core", "data_ops")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def python(*arguments: str, cwd: Path) -> str:
    """The output of Python, started in a folder that is not on its path."""
    command = [sys.executable, "-P", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def tracked(*paths: str) -> set[str]:
    """The files below these paths that git knows and the tree holds."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", *paths], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return {name for name in listed.split("\0") if name and (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, built in a copy of the tree."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    for kind in ("wheel", "sdist"):
        python("-c", f"from setuptools.build_meta import build_{kind} as b; b({str(out)!r})", cwd=source)
    return out


def test_the_wheel_installs_one_name_with_every_file(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    installed = [name for name in names if ".dist-info/" not in name]
    assert {name.split("/")[0] for name in installed} == {"ssl_sweep"}
    assert {name.removeprefix("ssl_sweep/") for name in installed} == tracked(*SHIPPED)


def test_the_sdist_holds_every_file_that_is_installed(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert tracked(*SHIPPED) | {"pyproject.toml", "README.md"} <= names


def test_every_package_is_listed() -> None:
    folders = [path.parent for part in FOLDERS for path in (ROOT / part).rglob("__init__.py")]
    found = ["ssl_sweep", *(".".join(["ssl_sweep", *path.relative_to(ROOT).parts]) for path in folders)]
    assert sorted(found) == PROJECT["tool"]["setuptools"]["packages"]


def test_every_package_has_a_layer() -> None:
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    named = {name.strip() for layer in layers for name in layer.split("|")}
    found = {"ssl_sweep.cli"}
    for part in FOLDERS:
        inside = {p.parent.name for p in (ROOT / part).glob("*/__init__.py")}
        inside |= {p.stem for p in (ROOT / part).glob("*.py") if p.stem != "__init__"}
        found |= {f"ssl_sweep.{part}.{name}" for name in inside}
    assert named == found


def test_every_package_has_smoke_tests() -> None:
    packages = [path.parent for part in FOLDERS for path in (ROOT / part).glob("*/__init__.py")]
    for package in packages:
        tests = (ROOT / "tests" / package.relative_to(ROOT)).glob("test_*.py")
        assert any("mark.smoke" in path.read_text() for path in tests), package.relative_to(ROOT)


@pytest.mark.smoke
def test_the_import_is_quick_and_loads_no_heavy_library(tmp_path: Path) -> None:
    timed = (
        "import sys, time; start = time.perf_counter(); import ssl_sweep; "
        "print(time.perf_counter() - start, {'ray', 'torch'} & set(sys.modules))"
    )
    found = [python("-c", timed, cwd=tmp_path).split(maxsplit=1) for _ in range(3)]
    assert {loaded.strip() for _, loaded in found} == {"set()"}
    assert min(float(seconds) for seconds, _ in found) <= 0.1


WORK = """
import sys
import ray
from ssl_sweep.sweep.cluster.connect import connect

def loaded():
    import ssl_sweep.cli, ssl_sweep.data_ops.hashing, ssl_sweep.ssl_core.config, ssl_sweep.sweep.spec.specs
    names = {name.split(".")[0] for name in sys.modules}
    return sorted(names & {"cli", "data_ops", "ssl_core", "ssl_sweep", "sweep"}), ssl_sweep.__file__

with connect(None):
    print(loaded() == ray.get(ray.remote(loaded).remote()), *loaded())
"""


def test_modules_in_the_working_folder_replace_nothing(tmp_path: Path) -> None:
    """Neither in the driver nor in a worker of Ray, whose path holds the driver's working folder."""
    for name in ("cli", "data_ops", "ssl_core", "sweep"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('a stray module was imported')\n")
    script = tmp_path / "script" / "work.py"
    script.parent.mkdir()
    script.write_text(WORK)
    assert python(str(script), cwd=tmp_path).split(maxsplit=2) == [
        "True",
        "['ssl_sweep']",
        f"{Path(os.path.realpath(ROOT)) / '__init__.py'}\n",
    ]
