from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from ssl_sweep.sweep.tracking.mlflow_client import local_uri

OPEN = "import sys; from ssl_sweep.sweep.tracking.mlflow_client import Tracker;"
OPEN += " Tracker(sys.argv[1], 'demo', None)"


def schema(database: Path) -> list[tuple[str, ...]]:
    with sqlite3.connect(database) as connection:
        tables = connection.execute("select sql from sqlite_master order by sql").fetchall()
        return tables + connection.execute("select version_num from alembic_version").fetchall()


def test_a_database_whose_maker_was_killed_is_whole_or_not_there(tmp_path: Path) -> None:
    """MLflow refuses one that was left between two of its migrations, and with it every later run."""
    final = tmp_path / "mlflow" / "mlflow.db"
    command = [sys.executable, "-c", OPEN, local_uri(final.parent)]
    process = subprocess.Popen(command)
    while not final.exists():
        assert process.poll() is None, "it ended without a database"
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    left = schema(final)
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr[-2000:]
    assert schema(final) == left
