"""Rows of measurements, saved one by one, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
ENCODERS = "ssl_sweep.ssl_core.encoders"
SLOW = ["gpu_learning", "torch._dynamo", f"{ENCODERS}.resnets", f"{ENCODERS}.vits"]
"""Modules that processes of the suite share: they are imported once, and the processes fork from there."""
TOLD = ("error", "needs")  # of a row without numbers


class Record:
    """The rows of one part, in a JSON file. A row that failed is measured again, any other is kept.

    Args:
        file: Where they are saved.
        settings: What they were measured with; rows of other settings are dropped.
        cuda: Whether there is a GPU here.
        tiny: Whether the sizes are those of a trial.
        until: Time of the monotonic clock at which no other row is started.
    """

    def __init__(self, file: Path, settings: Row, *, cuda: bool, tiny: bool, until: float) -> None:
        self.file, self.cuda, self.tiny, self.until = file, cuda, tiny, until
        self.rows: dict[str, Row] = {}
        self._settings = settings
        if file.exists():
            found = json.loads(file.read_text())
            self.rows = found["rows"] if found["settings"] == settings else {}

    def measure(self, name: str, function: Callable[[], Row], *, gpu: bool = False) -> Row:
        """Call ``function`` and keep what it gives as a row; an error is kept as one, too.

        Args:
            name: Name of the row.
            function: Measures it.
            gpu: It cannot run without a GPU.
        """
        if name in self.rows and not any(word in self.rows[name] for word in TOLD):
            return self.rows[name]
        if gpu and not self.cuda:
            return self.keep(name, {"needs": "a GPU"})
        if time.monotonic() >= self.until:
            return self.keep(name, {"needs": "more time: run the same command again"})
        started = time.perf_counter()
        try:
            row = function()
        except Exception as error:
            row = {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0:1]}"}
        row["took_s"] = round(time.perf_counter() - started, 1)
        return self.keep(name, row)

    def keep(self, name: str, row: Row) -> Row:
        """Add or replace a row, and save all."""
        self.rows[name] = row
        partial = self.file.with_suffix(".partial")
        partial.write_text(json.dumps({"settings": self._settings, "rows": self.rows}, indent=1) + "\n")
        os.replace(partial, self.file)
        print(f"{self.file.stem}: {name}: {json.dumps(row)}", flush=True)
        return row

    @property
    def complete(self) -> bool:
        """Whether no row failed, and none waits for time."""
        rows = self.rows.values()
        return bool(rows) and all("error" not in row and row.get("needs", "a GPU") == "a GPU" for row in rows)


def table(title: str, rows: dict[str, Row]) -> str:
    """The rows as a markdown table."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = [f"### {title}", "", "| |" + "".join(f" {c} |" for c in columns), "|---|" + "---|" * len(columns)]
    lines += [
        f"| {name} |" + "".join(f" {_short(row.get(c, ''))} |" for c in columns) for name, row in rows.items()
    ]
    return "\n".join(lines) + "\n"


def _short(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "/")
