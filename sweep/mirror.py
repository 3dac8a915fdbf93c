"""What the tracker should hold, derived from the plan and the store, written off the critical path."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sweep.errors import StoreError, SweepError, first_line
from sweep.manifest import Manifest
from sweep.nodes import Node
from sweep.plan import Plan
from sweep.results import AXES, METRICS, Row, cell_rows
from sweep.specs import PretrainSpec, Stage
from sweep.store import Store
from sweep.tracking import MirrorRun, Tracker, local_uri, model_of

# The writer looks for finished stages this often; each look is a few stat calls.
_EVERY_S = 3.0
_NOTE = 4900  # characters that MLflow surely takes as a tag
_RESULT = ("encoder.safetensors", "encoder.json")


class TrackerError(SweepError):
    """The tracking server does not answer or refuses what it is given."""


def tracking_folder(store: Store) -> Path:
    return store.root / "mlflow"


def tracking_uri(store: Store, uri: str | None) -> str:
    """The address to log to: the one given, MLflow's own environment variable, else SQLite in the store, or
    in this node's cache of an object store."""
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or local_uri(tracking_folder(store))


def where_tracked(store: Store, uri: str | None) -> str:
    """What to tell of a database that only this machine has, '' of any other."""
    folder = tracking_folder(store)
    if not store.remote or tracking_uri(store, uri) != local_uri(folder):
        return ""
    return f"MLflow's database of this store is on this machine, in {folder}; --tracking-uri names a server"


def open_tracker(store: Store, uri: str | None, sweep: str) -> Tracker:
    address = tracking_uri(store, uri)
    artifacts = tracking_folder(store) / "artifacts" if address == local_uri(tracking_folder(store)) else None
    return Tracker(address, sweep, artifacts)


def pending(plan: Plan, store: Store, done: frozenset[str], models: bool) -> Iterable[MirrorRun]:
    """The runs of everything finished in the store, trainings first, without those in ``done``; with
    ``models`` the encoders are logged as MLflow models, those of trainings that were logged before too."""
    for node in plan.pretrainings:
        lacking = node.id not in done or (models and model_of(node.id) not in done)
        if lacking and (run := training_run(node, store)) is not None:
            yield replace(run, encoder=store.fetch("pretrain", node.id)) if models else run
    for rows in cell_rows(plan, store, skip=done):
        yield cell_run(rows, plan, store)


def training_run(node: Node, store: Store) -> MirrorRun | None:
    """Parameters, the loss of every epoch, speed and the encoder of a finished training."""
    manifest = store.complete("pretrain", node.id)
    if manifest is None:
        return None
    assert isinstance(node.spec, PretrainSpec)
    folder = store.fetch("pretrain", node.id, _RESULT)
    metrics = []
    logged = store.extra("pretrain", node.id, "epochs.jsonl")
    for line in logged.read_text().splitlines() if logged is not None else ():
        record = json.loads(line)
        epoch = int(record.pop("epoch"))
        metrics += [(name, float(value), epoch) for name, value in record.items() if value is not None]
    sheet = store.extra("pretrain", node.id, "images.png")
    config = node.spec.config
    params = {name: _text(getattr(config, name)) for name in type(config).__dataclass_fields__}
    params |= {
        "domain": "+".join(node.datasets),
        "images": str(sum(part.images for part in node.spec.parts)),
        "subset_seed": str(node.spec.parts[0].subset_seed),
        "subset_draw": node.spec.parts[0].draw,
        "imbalance": _text(node.spec.parts[0].imbalance),
        "corruption": node.spec.corruption,
        "mode": manifest.run.mode,
        "workers": str(manifest.run.workers),
        "view_backend": manifest.run.backend,
    }
    return MirrorRun(
        id=node.id,
        name=node.label,
        started_ms=_ms(manifest.run.started),
        ended_ms=_ms(manifest.run.ended),
        params=params,
        metrics=tuple(metrics),
        tags={"ssl_sweep.kind": "training", "ssl_sweep.pretrain_id": node.id},
        artifacts=(*(folder / name for name in _RESULT), *([sheet] if sheet is not None else [])),
    )


def cell_run(rows: list[Row], plan: Plan, store: Store) -> MirrorRun:
    """One cell: every axis as a parameter; the finest level's metrics by their plain names, all by level."""
    first = rows[0]
    manifest = _answer(plan, store, str(first["cell_id"]))
    assert manifest is not None
    metrics = []
    for position, row in enumerate(rows):
        for name in METRICS:
            value = row[name]
            if isinstance(value, float):
                metrics.append((f"{name}_{row['level']}", value, 0))
                if position == 0:
                    metrics.append((name, value, 0))
    return MirrorRun(
        id=str(first["cell_id"]),
        name=f"{first['method']} {first['pretrain_domain']} → {first['eval_domain']} {first['labels']}",
        started_ms=_ms(manifest.run.started),
        ended_ms=_ms(manifest.run.ended),
        params={name: _text(first[name]) for name in AXES},
        metrics=tuple(metrics),
        tags={
            "ssl_sweep.kind": "cell",
            "ssl_sweep.pretrain_id": str(first["pretrain_id"]),
            "ssl_sweep.probe_id": manifest.id,
        },
    )


def _answer(plan: Plan, store: Store, cell_id: str) -> Manifest | None:
    node = plan.by_id[plan.cell_nodes[cell_id]]
    return store.complete(node.stage, node.id)


class Mirror:
    """One background writer for one run of a sweep. A tracker that fails never fails the sweep.

    A file in the store notes what was written to which tracker, so that a run that adds nothing does not
    even import MLflow. The file is only a shortcut: ``sync`` looks at the tracker itself.
    """

    def __init__(self, plan: Plan, store: Store, uri: str | None, models: bool = False) -> None:
        self._plan, self._store, self._uri, self._models = plan, store, uri, models
        self._over, self._error = threading.Event(), ""
        self._written = 0
        self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self, timeout: float) -> str:
        """Write what is left, wait at most ``timeout`` seconds; the error, or '' when all is mirrored."""
        if self._thread.ident is None:
            self._thread.start()
        self._over.set()
        self._thread.join(timeout)
        if self._thread.is_alive():
            return f"the tracker took more than {timeout:.0f} s"
        return self._error

    def _work(self) -> None:
        try:
            tracker: Tracker | None = None
            over = False
            while not over:
                over = self._over.wait(_EVERY_S if tracker or self._error else 0.5)
                noted = self._noted()
                with self._store.survey():
                    wanted = list(self._wanted())
                if all(id in noted for id in wanted):
                    continue
                tracker = tracker or open_tracker(self._store, self._uri, self._plan.sweep)
                self._note(noted | set(tracker.existing()))
                tracker.log(pending(self._plan, self._store, frozenset(self._noted()), self._models))
                self._note(self._noted() | set(tracker.existing()))
        except Exception as error:  # a mirror may fail in any way its server does
            self._error = first_line(error)

    def _wanted(self) -> Iterable[str]:
        """Ids that the store can answer now."""
        stages = {id: self._plan.by_id[id].stage for id in self._plan.cell_nodes.values()}
        answered = {id for id, stage in stages.items() if self._finished(stage, id)}
        yield from (cell for cell, id in self._plan.cell_nodes.items() if id in answered)
        trained = [n.id for n in self._plan.pretrainings if self._finished("pretrain", n.id)]
        yield from trained
        if self._models:
            yield from map(model_of, trained)

    def _finished(self, stage: Stage, id: str) -> bool:
        return self._store.finished(stage, id)

    @property
    def _notes(self) -> Path:
        address = tracking_uri(self._store, self._uri)
        name = hashlib.sha256(f"{address} {self._plan.sweep}".encode()).hexdigest()[:16]
        return tracking_folder(self._store) / f"mirrored-{name}.json"

    def _noted(self) -> set[str]:
        address = tracking_uri(self._store, self._uri)
        database = Path(address.removeprefix("sqlite:///"))
        if address.startswith("sqlite:///") and not database.exists():
            return set()
        try:
            return set(json.loads(self._notes.read_text()))
        except (OSError, ValueError):
            return set()

    def _note(self, ids: set[str]) -> None:
        self._notes.parent.mkdir(parents=True, exist_ok=True)
        partial = self._notes.with_suffix(".partial")
        partial.write_text(json.dumps(sorted(ids)))
        partial.replace(self._notes)


def sync_grid(grid: Path, overrides: Sequence[str], store_uri: str, uri: str | None) -> int:
    """Write to the tracker whatever the store holds and the tracker lacks; the number of runs written.

    Raises:
        TrackerError: the tracker does not take it.
    """
    from sweep.plan_grid import plan_grid

    store = Store(store_uri)
    if not store.remote and not store.root.is_dir():
        raise StoreError(
            f"there is no store at {store_uri}", hint="name it with --store, or run the grid first"
        )
    read, plan = plan_grid(grid, overrides, store)
    try:
        tracker = open_tracker(store, uri, plan.sweep)
        return tracker.log(pending(plan, store, tracker.existing(), read.compute.log_models))
    except SweepError:
        raise
    except Exception as error:  # MLflow raises its own, its database's and its HTTP client's errors
        raise TrackerError(
            f"the tracker at {tracking_uri(store, uri)} failed: {first_line(error)}",
            hint="check that the server runs and the address is right; results are safe in the store",
        ) from error


def attach_report(
    store: Store, uri: str | None, sweep: str, findings: Path, page: Path, figures: Sequence[Path]
) -> str:
    """Put a report on the sweep's own run, whose description its findings become; why it was not put there,
    or '' where it was or where the sweep has no tracker yet. A report never fails for its mirror."""
    address = tracking_uri(store, uri)
    if address == local_uri(tracking_folder(store)) and not (tracking_folder(store) / "mlflow.db").exists():
        return ""
    files = [(findings, ""), (page, ""), *((path, "figures") for path in figures)]
    tags = {"ssl_sweep.kind": "sweep", "mlflow.note.content": findings.read_text()[:_NOTE]}
    try:
        open_tracker(store, uri, sweep).attach(f"sweep-{sweep}", f"sweep {sweep}", tags, files)
    except Exception as error:  # as in Mirror: MLflow raises its own, its database's and its HTTP client's
        return first_line(error)
    return ""


def ui_command(store_uri: str, uri: str | None, host: str, port: int) -> list[str]:
    """The command that serves MLflow's UI on the tracker of a store.

    Raises:
        StoreError: the store has no runs to show.
    """
    store = Store(store_uri)
    address = tracking_uri(store, uri)
    if address == local_uri(tracking_folder(store)) and not (tracking_folder(store) / "mlflow.db").exists():
        raise StoreError(
            f"the store {store_uri} has no MLflow database yet",
            hint="run a grid first, or name the store with --store",
        )
    serve = ["-m", "mlflow", "ui", "--backend-store-uri", address, "--host", host, "--port", str(port)]
    return [sys.executable, *serve]


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _ms(time: str) -> int:
    return round(datetime.fromisoformat(time).timestamp() * 1000)
