"""A sweep as a job of a cluster: its id, what is shipped, what is run there, and how it ended."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssl_sweep.sweep.errors import GridError, SweepError, UsageError, first_line
from ssl_sweep.sweep.grid.load import Grid, read_grid
from ssl_sweep.sweep.planning.planner import plan_read
from ssl_sweep.sweep.results.status import status
from ssl_sweep.sweep.store.open import open_place
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.util.addresses import secret_in
from ssl_sweep.sweep.util.program import FOLDER, PACKAGE, PARTS

_MAX_NAME = 60  # characters of the sweep's name in the id of its jobs
_STOP_MARGIN_S = 20  # after the grace, to save what stopped


@dataclass(frozen=True)
class Submission:
    """A sweep to run on a cluster.

    Attributes:
        id: the first job's id; equal for the same grid, overrides and store.
        grid: the grid file.
        read: the grid as it was when the submission was made.
        overrides: as the cluster gets them.
        store: the address as the cluster gets it.
        tracking: the address of the MLflow server, if one was given.
        stop_wait_s: how many seconds a stopped job may take to save its work.
        options: further arguments of ``ssl-sweep run``.
    """

    id: str
    grid: Path
    read: Grid
    overrides: tuple[str, ...]
    store: str
    tracking: str | None
    stop_wait_s: int
    options: tuple[str, ...] = ()

    @property
    def command(self) -> list[str]:
        """The command that the head runs in the shipped folder."""
        tracking = ["--tracking-uri", self.tracking] if self.tracking else []
        words = ["run", "grid.yaml", *self.overrides, "--store", self.store, *tracking, *self.options]
        return ["python", "-m", "ssl_sweep.cli", *words, "--address", "auto"]

    @property
    def line(self) -> str:
        """The command as one line for a shell."""
        return shlex.join(self.command)

    def number(self, id: str) -> int:
        """Which submission of this sweep the job ``id`` is, from 1; 0 for a job of another sweep."""
        name, _, number = id.rpartition("-")
        if id == self.id:
            return 1
        return int(number) if name == self.id and number.isdigit() else 0

    def next_id(self, known: Iterable[str]) -> str:
        """An id above all ``known`` ones; jobs that ended may still be listed."""
        last = max(map(self.number, known), default=0)
        return f"{self.id}-{last + 1}" if last else self.id

    def pack(self, folder: Path) -> None:
        """Copy what the command needs: this version of the program, and the grid."""
        (folder / PACKAGE).mkdir()
        for file in FOLDER.glob("*.py"):
            shutil.copy(file, folder / PACKAGE)
        for part in PARTS:
            unwanted = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(FOLDER / part, folder / PACKAGE / part, ignore=unwanted)
        shutil.copy(self.grid, folder / "grid.yaml")

    def verdict(self) -> tuple[int | None, str]:
        """The sweep's exit code by the store, and a line that says why.

        0: all cells are complete. 1: some failed. None: some are missing, or this machine cannot read the
        store.
        """
        try:
            store = Store(self.store)
            plan = plan_read(self.read, store, expect=True)  # as shipped, even if the file changed since
            store.require_existing()
            found = status(plan, store)
        except (SweepError, OSError) as error:
            return None, f"this machine cannot read the sweep's store: {first_line(error)}"
        cells = found.cells
        counts = ", ".join(f"{count:,} {state}" for state, count in cells.items() if count)
        if sum(cells.values()) == cells["complete"]:
            return 0, f"cells in the store: {counts}"
        failed = cells["failed"] + cells["blocked"]
        return (1 if failed else None), f"cells in the store: {counts}"


def prepare_submission(
    grid: Path,
    overrides: Sequence[str],
    store_uri: str,
    tracking_uri: str | None,
    options: Sequence[str] = (),
) -> Submission:
    """Check what can be checked without a cluster.

    ``options`` are further arguments of ``ssl-sweep run``.

    Raises:
        GridError: the grid is wrong.
        UsageError: a credential would travel in the job's arguments.
        StoreError: the store's address is not valid.
    """
    read, problems = read_grid(grid, overrides)
    if problems:
        raise GridError(problems)
    if tracking_uri and (secret := secret_in(tracking_uri)):
        raise UsageError(
            f"the tracking address holds {secret}, and every user of the cluster can read a job's arguments",
            hint="give the address without it, and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            " in the environment of the cluster's head",
        )
    store = open_place(store_uri, None).uri
    asked = json.dumps([read.name, read.source.data, store], sort_keys=True, default=str)
    digest = hashlib.sha256(asked.encode()).hexdigest()[:12]
    # Ray names files by the id
    name = re.sub(r"[^a-zA-Z0-9]+", "-", read.name).strip("-").lower()[:_MAX_NAME]
    return Submission(
        id="-".join(filter(None, ["ssl-sweep", name, digest])),
        grid=grid,
        read=read,
        overrides=tuple(overrides),
        store=store,
        tracking=tracking_uri,
        options=tuple(options),
        stop_wait_s=round(read.compute.grace_s) + _STOP_MARGIN_S,
    )
