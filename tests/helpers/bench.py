"""A folder with a grid and a store, and the console script run in it: real Ray, real MLflow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

SCRIPT = Path(sys.executable).parent / "ssl-sweep"

TINY = """
name: tiny
datasets:
  objects: {source: synthetic, domain: objects, train: 256, test: 64}
  scenes: {source: synthetic, domain: scenes, train: 256, test: 64}
pretrain:
  - {domain: [objects, [objects, scenes]], images: 128, epochs: 2, batch: 32}
  - {domain: objects, images: 128, epochs: 2, batch: 32, seed: 1}
  - {method: random, seed: 0}
evaluate:
  - {domain: [objects, scenes], labels: [32, all], seed: [0, 1]}
"""


@dataclass
class Bench:
    """A folder with a grid file and a store, and the commands run in it."""

    folder: Path
    store: str = "store"
    env: dict[str, str] = field(default_factory=dict)

    def write(self, text: str = TINY, name: str = "grid.yaml") -> Path:
        path = self.folder / name
        path.write_text(textwrap.dedent(text))
        return path

    def start(self, *arguments: str, prefix: Sequence[str] = ()) -> subprocess.Popen[str]:
        """The command in a process group of its own, as a shell would start it."""
        return subprocess.Popen(
            [*prefix, str(SCRIPT), *arguments],
            cwd=self.folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def call(
        self, *arguments: str, expect: int = 0, timeout: float = 240, prefix: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, prefix=prefix)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            raise AssertionError(f"{arguments} took more than {timeout} s\n{out}\n{err}") from None
        assert process.returncode == expect, f"exit {process.returncode}, not {expect}\n{out}\n{err}"
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def run(
        self, *overrides: str, grid: str = "grid.yaml", expect: int = 0
    ) -> subprocess.CompletedProcess[str]:
        return self.call("run", grid, *overrides, "--store", self.store, expect=expect)

    def results(self, *overrides: str, grid: str = "grid.yaml") -> str:
        return self.call("results", grid, *overrides, "--store", self.store, "--format", "csv").stdout

    def plan(self, *overrides: str, grid: str = "grid.yaml") -> dict[str, object]:
        document: dict[str, object] = json.loads(
            self.call("plan", grid, *overrides, "--store", self.store, "--json").stdout
        )
        return document

    def executions(self) -> Counter[tuple[str, str]]:
        """How often each stage was carried to completion. One execution may have two lines: that of a worker
        that outlived its driver, and that of the next run, which found it missing."""
        lines = (self.folder / self.store / "executions.jsonl").read_text().splitlines()
        executions = {record["execution"]: record for record in map(json.loads, lines)}
        return Counter((record["stage"], record["id"]) for record in executions.values())


def wait_for(condition: object, timeout: float, what: str) -> None:
    """Poll ``condition()`` until it is true."""
    deadline = time.monotonic() + timeout
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout} s"
        time.sleep(0.05)
