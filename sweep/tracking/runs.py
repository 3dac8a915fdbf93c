"""The runs that the tracker should have: one per training and one per cell, from plan and store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from ssl_sweep.ssl_core.evaluation.metrics import METRICS
from ssl_sweep.sweep.planning.cells import Cell, Pretraining
from ssl_sweep.sweep.planning.columns import AXES, ENCODER_COLUMNS
from ssl_sweep.sweep.planning.graph import Plan
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.results.table import finished_rows
from ssl_sweep.sweep.store.manifest import Manifest
from ssl_sweep.sweep.store.store import Store
from ssl_sweep.sweep.tracking.mlflow_client import MirrorRun, model_of
from ssl_sweep.sweep.tracking.names import name_of

_RESULT = ("encoder.safetensors", "encoder.json")


class MirroredRuns:
    """The runs of each stage: a training has one, a probe or fine-tuning one for each cell that uses it."""

    def __init__(self, plan: Plan, store: Store, models: bool) -> None:
        """Collect the stages of a plan.

        Args:
            plan: The plan of a sweep.
            store: The store with its stages.
            models: Log encoders as MLflow models, also for trainings that were logged before.
        """
        self._store, self._models = store, models
        self._cells: dict[str, list[Cell]] = {}
        self._encoders: dict[str, Pretraining] = {}
        for cell in plan.cells:
            self._cells.setdefault(plan.cell_stages[cell.id], []).append(cell)
            self._encoders |= {encoder.id: encoder for encoder in cell.encoders}
        self.stages = tuple(
            sorted((s for s in plan.stages if s.trains or s.id in self._cells), key=lambda s: not s.trains)
        )
        """The stages that have runs, trainings first."""

    def ids(self, stage: PlannedStage) -> list[str]:
        """Return the ids of the runs of a stage, and of its model."""
        if stage.trains:
            return [stage.id, model_of(stage.id)] if self._models else [stage.id]
        return [cell.id for cell in self._cells.get(stage.id, ())]

    def runs(self, stage: PlannedStage, done: frozenset[str] = frozenset()) -> Iterator[MirrorRun]:
        """Yield the runs that are not in ``done``, if the stage is finished in the store."""
        wanted = [id for id in self.ids(stage) if id not in done]
        manifest = self._store.complete(stage.kind, stage.id) if wanted else None
        if manifest is None:
            return
        if stage.trains:
            run = training_run(self._encoders[stage.id], manifest, self._store)
            yield replace(run, encoder=self._store.fetch("pretrain", stage.id)) if self._models else run
        for cell in self._cells.get(stage.id, ()):
            if cell.id in wanted:
                yield cell_run(cell, manifest)


def training_run(encoder: Pretraining, manifest: Manifest, store: Store) -> MirrorRun:
    """Return a finished training as a run: parameters, the loss of every epoch, speed and the encoder.

    The parameters are the fields of the config and, under the names of the results, the columns of encoders.
    """
    folder = store.fetch("pretrain", encoder.id, _RESULT)
    metrics = []
    logged = store.extra("pretrain", encoder.id, "epochs.jsonl")
    for line in logged.read_text().splitlines() if logged is not None else ():
        record = json.loads(line)
        epoch = int(record.pop("epoch"))
        metrics += [(name_of(key), float(value), epoch) for key, value in record.items() if value is not None]
    sheet = store.extra("pretrain", encoder.id, "images.png")
    params = vars(encoder.spec.config) | {
        name: column.value(encoder) for name, column in ENCODER_COLUMNS.items() if column.of != "id"
    }
    params |= {
        "view_policies": encoder.view_policies,
        "mode": manifest.run.mode,
        "workers": manifest.run.workers,
        "view_backend": manifest.run.backend,
    }
    return MirrorRun(
        id=encoder.id,
        name=encoder.label,
        started_ms=_ms(manifest.run.started),
        ended_ms=_ms(manifest.run.ended),
        params={name_of(name): _param(value) for name, value in params.items()},
        metrics=tuple(metrics),
        tags={"ssl_sweep.kind": "training", "ssl_sweep.pretrain_id": encoder.id},
        artifacts=(*(folder / name for name in _RESULT), *([sheet] if sheet is not None else [])),
    )


def cell_run(cell: Cell, manifest: Manifest) -> MirrorRun:
    """Return a finished cell as a run.

    Every axis is a parameter. Each metric is logged by level, and that of the finest level also by its plain
    name.
    """
    rows = finished_rows(cell, manifest)
    first = rows[0]
    metrics = []
    for position, row in enumerate(rows):
        for name in METRICS:
            value = row[name]
            if isinstance(value, float):
                metrics.append((level_metric(name, str(row["level"])), value, 0))
                if position == 0:
                    metrics.append((name, value, 0))
    return MirrorRun(
        id=str(first["cell_id"]),
        name=f"{first['method']} {first['pretrain_domain']} → {first['eval_domain']} {first['labels']}",
        started_ms=_ms(manifest.run.started),
        ended_ms=_ms(manifest.run.ended),
        params={name: _param(first[name]) for name in AXES},
        metrics=tuple(metrics),
        tags={
            "ssl_sweep.kind": "cell",
            "ssl_sweep.pretrain_id": str(first["pretrain_id"]),
            "ssl_sweep.probe_id": manifest.id,
        },
    )


def level_metric(name: str, level: str) -> str:
    """The name of a metric at a label level.

    ``top1`` at a level ``std_err`` must not look like ``top1_std_err``, so the name of such a level is
    replaced.
    """
    text = f"{name}_{level}"
    longer = [other for other in METRICS if len(other) > len(name)]
    taken = any(text == other or text.startswith(f"{other}_") for other in longer)
    return name_of(text, (text,) if taken else ())


def _param(value: object) -> str:
    return "" if value is None else str(value)


def _ms(time: str) -> int:
    return round(datetime.fromisoformat(time).timestamp() * 1000)
