"""A disk that is full and a store that goes away, as file systems of a mount namespace of the test's own.

The runs are whole ones, their stages real, on plain processes instead of Ray.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

LIGHT_RUN = Path(__file__).parents[1] / "helpers" / "light_run.py"
GRID = """
name: trouble
datasets:
  objects: {source: synthetic, domain: objects, train: 64, test: 32}
pretrain:
  - {method: simclr, domain: objects, images: 64, batch: 32, epochs: 2}
evaluate:
  - {domain: objects, labels: [32, all], seed: 0}
"""


def _cannot_mount() -> str:
    """Why file systems cannot be mounted here, '' where they can: it takes Linux and user namespaces."""
    try:
        tried = subprocess.run(
            ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True
        )
    except OSError as error:
        return f"no mount namespaces here: {error}"
    return f"no mount namespaces here: {tried.stderr.strip()}" if tried.returncode else ""


CANNOT_MOUNT = _cannot_mount()
pytestmark = [pytest.mark.exhaustive, pytest.mark.skipif(bool(CANNOT_MOUNT), reason=CANNOT_MOUNT)]


@dataclass
class Sweep:
    """A folder with a grid, and scripts that run it in a mount namespace."""

    folder: Path

    def script(self, text: str) -> None:
        """`run NAME` runs the grid and leaves NAME.exit, NAME.out and NAME.err."""
        (self.folder / "grid.yaml").write_text(GRID)
        command = f"'{sys.executable}' '{LIGHT_RUN}' grid.yaml --store store --real --workers 1"
        run = f"run() {{ c=0; {command} --without-mirror >$1.out 2>$1.err || c=$?; echo $c >$1.exit; }}\n"
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-ec", f"mkdir -p store\n{run}{text}"],
            cwd=self.folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr

    def exit(self, name: str) -> int:
        return int((self.folder / f"{name}.exit").read_text())

    def errors(self, name: str) -> str:
        text = (self.folder / f"{name}.err").read_text()
        assert "Traceback" not in text, text
        return text

    def executions(self) -> Counter[tuple[str, str]]:
        lines = (self.folder / "kept" / "executions.jsonl").read_text().splitlines()
        return Counter((record["stage"], record["id"]) for record in map(json.loads, lines))

    def all_done_once(self) -> None:
        stages = Counter(stage for stage, _ in self.executions())
        assert stages == {"prepare": 1, "pretrain": 1, "features": 2, "probe": 2}
        assert set(self.executions().values()) == {1}
        assert not list((self.folder / "kept").rglob("error.json"))


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path)


def test_a_full_disk_is_named_and_nothing_is_lost(sweep: Sweep) -> None:
    sweep.script(
        """
        mount -t tmpfs -o size=1100k none store
        run full
        cp -a store then
        mount -o remount,size=100m store
        run again
        cp -a store kept
        """
    )
    assert sweep.exit("full") == 1
    said = sweep.errors("full")
    assert "No space left on device" in said
    (failed,) = (sweep.folder / "then").glob("*/*/error.json")
    assert json.loads(failed.read_text())["kind"] == "disk_full"
    assert json.loads(failed.read_text())["attempt"] == 1  # no use in trying again
    assert not (failed.parent / "manifest.json").exists()
    assert sweep.exit("again") == 0, sweep.errors("again")
    sweep.all_done_once()


def test_an_array_for_which_there_is_no_room_is_refused(tmp_path: Path) -> None:
    """Written through memory it would end its process by a signal, without a word."""
    code = "from pathlib import Path\n"
    code += "from ssl_sweep.data_ops.preparation.workspace import new_array\n"
    code += "try: new_array(Path('store/x.npy'), 'float32', (2000, 512))[:] = 1\n"
    code += "except OSError as error: print(error)\n"
    done = subprocess.run(
        [
            *("unshare", "-rm", "sh", "-ec", 'mkdir store; mount -t tmpfs -o size=1m none store; "$@"', "sh"),
            *(sys.executable, "-c", code),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "No space left on device: 'store/x.npy'" in done.stdout, (done.returncode, done.stderr)


def test_a_store_that_goes_away_for_some_seconds_is_waited_for(sweep: Sweep) -> None:
    """Its file system is taken away in the middle of a run: the folder is there, and empty."""
    sweep.script(
        """
        mkdir real
        mount --bind real store
        run away &
        while ! ls store/features/*/manifest.json >away.ls 2>&1; do sleep 0.05; done
        umount -l store
        sleep 6
        find store -type f ! -name log.txt >ghosts
        mount --bind real store
        wait
        cp -a store kept
        """
    )
    said = sweep.errors("away")
    assert sweep.exit("away") == 0, said
    assert "is away" in said or "store:" in said
    sweep.all_done_once()
    assert (sweep.folder / "ghosts").read_text() == ""  # no result, no record in the empty folder
