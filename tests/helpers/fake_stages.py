"""Stages that do no work and leave files of the right shape through the real store, for many cells."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ssl_sweep.sweep.execution.backend import Outcome
from ssl_sweep.sweep.execution.runtime import Runtime, TrainPlan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.specs import ProbeSpec
from ssl_sweep.sweep.stages.perform import perform_light
from ssl_sweep.sweep.store.manifest import RunRecord
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.util.files import whole

_EPOCHS = 4
_TEST_IMAGES = 8


@dataclass(frozen=True)
class FakeWork:
    """Datasets are prepared for real. A training sleeps `train_s` seconds in four epochs, each of which
    leaves a checkpoint to go on from; every number in a result follows from the stage's id."""

    train_s: float = 0.0

    def light(self, stages: Sequence[PlannedStage], runtime: Runtime) -> list[Outcome]:
        if stages[0].kind == "prepare":
            return perform_light(stages, runtime)
        store = runtime.open_store()
        return [
            Outcome(stage.id, "complete", executed=_todo(stage, store) and self._do(stage, runtime, store))
            for stage in stages
        ]

    def train(self, stage: PlannedStage, runtime: Runtime, plan: TrainPlan) -> list[Outcome]:
        store = runtime.open_store()
        if not _todo(stage, store):
            return [Outcome(stage.id, "complete", executed=False)]
        started = time.time()
        folder = store.path(stage.kind, stage.id)
        done = folder / "checkpoint.json"
        epochs: list[dict[str, Any]] = json.loads(done.read_text()) if done.exists() else []
        for epoch in range(len(epochs), _EPOCHS):
            if runtime.stop_requested():
                return [Outcome(stage.id, "interrupted")]
            time.sleep(self.train_s / _EPOCHS)
            epochs.append({"epoch": epoch, "loss": _number(stage, f"loss {epoch}")})
            with whole(done) as partial:
                partial.write_text(json.dumps(epochs))
        with whole(folder / "epochs.jsonl") as partial:
            partial.write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
        outputs = {"loss": epochs[-1]["loss"], "steps": 16, "epochs": epochs}
        executed = self._encoder(stage, store, started, outputs)
        done.unlink(missing_ok=True)
        return [Outcome(stage.id, "complete", executed=executed)]

    def _do(self, stage: PlannedStage, runtime: Runtime, store: Store) -> bool:
        started = time.time()
        folder = store.path(stage.kind, stage.id)
        match stage.kind:
            case "pretrain":
                return self._encoder(stage, store, started, {})
            case "features":
                for name in ("x.npy", "ids.npy"):
                    with whole(folder / name) as partial, partial.open("wb") as file:
                        np.save(file, np.full((_TEST_IMAGES, 4), _number(stage, name), np.float32))
                return _commit(stage, store, started, {"shape": [_TEST_IMAGES, 4]})
            case "probe":
                return self._answer(stage, store, started, _levels(stage, runtime, store))
        raise TypeError(f"{stage.kind} is no light stage")

    def _encoder(self, stage: PlannedStage, store: Store, started: float, outputs: dict[str, Any]) -> bool:
        folder = store.path(stage.kind, stage.id)
        with whole(folder / "encoder.safetensors") as partial:
            partial.write_bytes(stage.id.encode() * 100)
        with whole(folder / "encoder.json") as partial:
            partial.write_text(json.dumps({"pretrain_id": stage.id}))
        return _commit(stage, store, started, outputs)

    def _answer(self, stage: PlannedStage, store: Store, started: float, levels: Sequence[str]) -> bool:
        import pyarrow as pa
        import pyarrow.parquet as pq

        top5 = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(5 * _TEST_IMAGES, dtype=np.int32)), 5)
        ids = pa.array([f"image-{i}" for i in range(_TEST_IMAGES)])
        y = pa.array(np.arange(_TEST_IMAGES, dtype=np.int32))
        with whole(store.predictions(stage.id)) as partial:
            pq.write_table(pa.table({"image_id": ids, "y": y, "top5": top5}), partial)
        top1 = _number(stage, "top1")
        scores = {"top1": top1, "top1_std_err": 0.01, "top5": 1.0, "balanced_accuracy": top1}
        judged = {level: {**scores, "n_test": _TEST_IMAGES} for level in levels}
        return _commit(stage, store, started, {"levels": judged, "C": 1.0, "converged": True})


def _levels(stage: PlannedStage, runtime: Runtime, store: Store) -> list[str]:
    """The levels that a probe judges: the one it learns and those above."""
    assert isinstance(stage.spec, ProbeSpec)
    manifest = store.manifest("prepare", runtime.datasets[stage.spec.fingerprint])
    assert manifest is not None
    known = list(manifest.outputs["levels"])
    return known[known.index(stage.spec.level) if stage.spec.level in known else 0 :]


def _commit(stage: PlannedStage, store: Store, started: float, outputs: dict[str, Any]) -> bool:
    record = RunRecord.since(started, hardware="a processor", mode="fake")
    return store.commit(stage.kind, stage.id, stage.spec, stage.upstream, outputs, record)


def _todo(stage: PlannedStage, store: Store) -> bool:
    return store.complete(stage.kind, stage.id) is None


def _number(stage: PlannedStage, what: str) -> float:
    """0 to 1, the same for the same stage."""
    digest = hashlib.sha256(f"{stage.id} {what}".encode()).digest()
    return round(int.from_bytes(digest[:4], "big") / 2**32, 6)
