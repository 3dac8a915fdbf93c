"""Linear probes on torch tensors in tasks of Ray; on "cpu:0", the CPU through torch, as tests have no GPU."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bench import Bench

from ssl_sweep.sweep.store.store import Store

AGAIN = """
import sys
from pathlib import Path
from ssl_sweep.sweep.execution.scheduler import execute
from ssl_sweep.sweep.store.leases import driving
from ssl_sweep.sweep.planning.planner import plan_grid
from ssl_sweep.sweep.cluster.backend import RayWorkplace
from ssl_sweep.sweep.run.run import datasets_of
from ssl_sweep.sweep.execution.runtime import Runtime
from ssl_sweep.sweep.store.store import Store

store, device = Store(sys.argv[1]), sys.argv[2]
_, plan = plan_grid(Path("grid.yaml"), (), store)
assert {stage.kind for stage in plan.to_run} == {"probe"}
workplace = RayWorkplace()
with driving(store.storage) as leases, workplace.join(None) as cluster:
    runtime = Runtime(
        store=store.uri, stop_file=Path("stop"), datasets=datasets_of(plan, store), probe_device=device
    )
    backend = workplace.backend(runtime, cluster, {})
    progress = execute(
        plan.stages,
        backend,
        store,
        leases,
        stop=lambda: False,
        grace_s=60.0,
        changed=lambda *change: None,
        tick=lambda progress: None,
    )
    backend.close()
print(*sorted({one.message for one in progress.stages.values()} - {""}))
"""


@pytest.mark.exhaustive
def test_probes_on_tensors_give_the_answers_of_those_on_arrays(finished: Bench, tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    shutil.copy(finished.folder / "grid.yaml", tmp_path)
    shutil.copytree(finished.folder / finished.store, tmp_path / bench.store)
    shutil.rmtree(tmp_path / bench.store / "probe")
    done = subprocess.run(
        [sys.executable, "-c", AGAIN, bench.store, "cpu:0"],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
    before, after = ({m.id: m.outputs for m in store_of(b).manifests("probe")} for b in (finished, bench))
    assert after.keys() == before.keys() and after
    for id, there in before.items():
        assert after[id]["C"] == there["C"] and after[id]["converged"]
        for level, metrics in there["levels"].items():  # of 64 test images, at most one is judged differently
            assert abs(after[id]["levels"][level]["top1"] - metrics["top1"]) <= 1 / 64 + 1e-9


def store_of(bench: Bench) -> Store:
    return Store(bench.folder / bench.store)
