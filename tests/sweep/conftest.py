"""Grids of a few lines and stores whose stages are finished without any work."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_sweep.data_ops.dataset.prepared import DatasetManifest
from ssl_sweep.data_ops.hashing import derive_seed, hash64
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.planner import plan_grid
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.files import FILES
from ssl_sweep.sweep.spec.specs import ANSWERS
from ssl_sweep.sweep.store.manifest import RunRecord
from ssl_sweep.sweep.store.store import Store

GRID = """\
name: demo
datasets:
  objects: {source: synthetic, domain: objects, train: 1000, test: 200}
  scenes: {source: synthetic, domain: scenes, train: 800, test: 200}
pretrain:
  - domain: [objects, scenes, [objects, scenes]]
    images: [400, 600]
    epochs: 2
    batch: 64
  - method: random
    seed: [0, 1]
evaluate:
  - domain: [objects, scenes]
    labels: [50, 10%, all]
    seed: [0, 1]
"""
LEVELS = ("class", "group")
CLASSES = tuple("abcdefghij")


class Sweeps:
    """Plans of grid texts against one store, and stages finished by decree."""

    grid = GRID

    def __init__(self, folder: Path, store: str = "") -> None:
        self.folder = folder
        self.store = Store(store or folder / "store")

    def write(self, text: str = GRID, name: str = "grid.yaml") -> Path:
        path = self.folder / name
        path.write_text(textwrap.dedent(text))
        return path

    def plan(self, text: str = GRID, *overrides: str) -> Plan:
        return plan_grid(self.write(text), overrides, self.store)[1]

    def prepared(self, text: str = GRID, *overrides: str) -> Plan:
        """The plan once every dataset is prepared."""
        self.finish(self.plan(text, *overrides).prepares)
        return self.plan(text, *overrides)

    def finish(self, stages: Iterable[PlannedStage], **metrics: float) -> None:
        for stage in stages:
            self.commit(stage, outputs(stage, **metrics))

    def commit(self, stage: PlannedStage, outputs: dict[str, Any], fill: bytes = b"result") -> bool:
        for file in self.files(stage):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(fill)
        if stage.kind == "prepare":
            write_dataset(self.store.path("prepare", stage.id) / "data", outputs)
        run = RunRecord.since(time.time() - 2, hardware="a processor")
        return self.store.commit(stage.kind, stage.id, stage.spec, stage.upstream, outputs, run)

    @staticmethod
    def outputs(stage: PlannedStage, **facts: Any) -> dict[str, Any]:
        return {**outputs(stage), **facts}

    def files(self, stage: PlannedStage) -> list[Path]:
        if stage.kind in ANSWERS:
            return [self.store.predictions(stage.id)]
        return [self.store.path(stage.kind, stage.id) / name for name in FILES[stage.kind]]


def outputs(stage: PlannedStage, **metrics: float) -> dict[str, Any]:
    """What a finished stage says, with made-up numbers."""
    if stage.kind == "prepare":
        train, test = (1000, 200) if stage.datasets[0] == "objects" else (800, 200)
        name = "+".join(stage.datasets)
        return {
            "fingerprint": f"data of {name}",
            "n_train": train,
            "n_test": test,
            "levels": LEVELS,
        }
    if stage.kind == "probe":
        found = {
            "top1": 0.5,
            "top1_std_err": 0.01,
            "top5": 0.9,
            "balanced_accuracy": 0.25,
            "n_test": 200,
            **metrics,
        }
        return {"levels": {level: found for level in LEVELS}, "C": 1.0, "converged": True}
    return {}


def write_dataset(folder: Path, outputs: dict[str, Any]) -> None:
    """What planning reads of a prepared dataset: keys that no other dataset has, and labels."""
    fields = {name: outputs[name] for name in ("fingerprint", "n_train", "n_test", "levels")}
    names = outputs.get("class_names", (CLASSES, ("all",)))
    (parents,) = outputs.get("parents", ((0,) * len(names[0]),))
    manifest = DatasetManifest(**fields, size=32, class_names=names, parents=(parents,))
    (folder / "dataset.json").write_text(manifest.to_json())
    for split in ("train", "test"):
        keys = hash64(derive_seed(outputs["fingerprint"], split), np.arange(outputs[f"n_{split}"]))
        np.save(folder / f"{split}_keys.npy", keys)
        labels = np.arange(len(keys)) % len(names[0])
        np.save(folder / f"{split}_labels.npy", np.stack([labels, np.asarray(parents)[labels]], axis=1))


@pytest.fixture
def sweeps(tmp_path: Path) -> Sweeps:
    return Sweeps(tmp_path)


@pytest.fixture
def problems(sweeps: Sweeps) -> Callable[..., list[str]]:
    """The problems of a grid text as printed, without the folder of the file."""
    from ssl_sweep.sweep.errors import GridError

    def found(text: str | None, *overrides: str) -> list[str]:
        with pytest.raises(GridError) as error:
            sweeps.plan(GRID if text is None else text, *overrides)
        return [str(problem).removeprefix(f"{sweeps.folder}/") for problem in error.value.problems]

    return found
