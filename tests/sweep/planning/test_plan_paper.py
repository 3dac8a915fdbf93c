"""Planning the whole published study against datasets of its size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_sweep.data_ops.dataset.draws import DIGESTS
from ssl_sweep.data_ops.dataset.prepared import DatasetManifest
from ssl_sweep.data_ops.hashing import derive_seed, hash64
from ssl_sweep.sweep.planning.planner import plan_grid
from ssl_sweep.sweep.spec.files import FILES
from ssl_sweep.sweep.store.manifest import RunRecord

PAPER = Path(__file__).parents[3] / "examples" / "paper.yaml"
KEYS = 1_281_167
PLAN = """
import json, sys, time
began = time.process_time()
from ssl_sweep.sweep.planning.planner import plan_grid
from ssl_sweep.sweep.store.store import Store
_, plan = plan_grid(sys.argv[1], (), Store(sys.argv[2]), expect=True)
provisional = sum(stage.provisional for stage in plan.stages)
heavy = sorted({"torch", "ray"} & set(sys.modules))
print(json.dumps([time.process_time() - began, provisional, heavy, sorted(s.id for s in plan.stages)]))
"""


@pytest.mark.slow
def test_the_study_is_planned_in_ten_seconds_over_tables_of_its_size(sweeps: Any) -> None:
    store = sweeps.store
    for stage in plan_grid(PAPER, (), store, expect=True)[1].prepares:
        folder = store.path("prepare", stage.id) / "data"
        facts: dict[str, Any] = {
            "fingerprint": f"images of {stage.label}", "size": 224, "n_train": KEYS, "n_test": 50_000,
            "levels": ("class",), "class_names": (tuple(map(str, range(1000))),), "parents": (),
            "class_counts": (tuple(np.bincount(np.arange(KEYS) % 1000).tolist()),),
        }  # fmt: skip
        for name in FILES["prepare"]:
            folder.mkdir(parents=True, exist_ok=True)
            (folder.parent / name).write_bytes(b"x")
        (folder / "dataset.json").write_text(DatasetManifest(**facts).to_json())
        for split, n in (("train", KEYS), ("test", 50_000)):
            np.save(folder / f"{split}_keys.npy", np.sort(hash64(derive_seed(stage.id, split), np.arange(n))))
            np.save(folder / f"{split}_labels.npy", np.arange(n)[:, None] % 1000)
        store.commit("prepare", stage.id, stage.spec, (), facts, RunRecord.since(time.time()))
    found = []
    for _ in range(2):
        command = [sys.executable, "-c", PLAN, str(PAPER), str(store.root)]
        found.append(
            json.loads(subprocess.run(command, check=True, capture_output=True, env=os.environ).stdout)
        )
    (first_s, provisional, heavy, ids), (again_s, _, _, known) = found
    assert first_s <= 10 and heavy == [] and provisional == 0
    assert list(store.root.glob(f"prepare/*/data/{DIGESTS}"))
    assert again_s < first_s and known == ids
    print(f"{first_s:.1f} s, and {again_s:.1f} s with the digests kept")
