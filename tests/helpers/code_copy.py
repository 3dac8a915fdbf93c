"""A copy of the program that a test may change, and its commands on a grid there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HELPERS = Path(__file__).parent
ROOT = HELPERS.parents[1]


def copy_of_code(folder: Path) -> Path:
    """The package's folder in ``folder``, which is then imported instead of the installed one."""
    code = folder / "ssl_sweep"
    for name in ("sweep", "ssl_core", "data_ops"):
        shutil.copytree(ROOT / name, code / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.glob("*.py"):
        shutil.copy(path, code)
    return code


def results_of(folder: Path, grid: str) -> tuple[str, str]:
    """Run a grid with the copy of the code, and return its results table as CSV and its plan as JSON."""
    (folder / "grid.yaml").write_text(grid, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(HELPERS)])}

    def python(*arguments: str) -> str:
        command = [sys.executable, *arguments, "grid.yaml", "--store", "store"]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=180
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    python(str(HELPERS / "light_run.py"), "--real", "--without-mirror")
    table = python("-m", "ssl_sweep.cli", "results", "--format", "csv")
    return table, python("-m", "ssl_sweep.cli", "plan", "--json")
