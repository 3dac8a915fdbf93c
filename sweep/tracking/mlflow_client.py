"""The MLflow side of the mirror: one experiment per sweep, one flat run per training and per cell.

Only this module imports MLflow. The tag ``ssl_sweep.id`` identifies a run, so logging it twice gives one run.
The store decides what is done, never MLflow.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_sweep.sweep.errors import first_line
from ssl_sweep.sweep.tracking.names import (
    DEFAULT_EXPERIMENT,
    MAX_NAME,
    MAX_PARAM,
    name_of,
    sqlite_file,
    sqlite_uri,
    value_of,
)
from ssl_sweep.sweep.util.files import appear, temporary
from ssl_sweep.sweep.util.scratch import scratch

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

ID_TAG = "ssl_sweep.id"
MODEL_TAG = "ssl_sweep.model"
"""On runs with their encoder as a model: its path among their artifacts."""
_PAGE = 1000
# A server that is down or silent may only cost seconds: what is not mirrored now is mirrored later. MLflow
# must not retry by itself: a run whose creation timed out may exist, so we look before creating it again. It
# must not print the address of each run, which may contain a password. PG… is for PostgreSQL's client.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "PGCONNECT_TIMEOUT": "10",
}
# MLflow's limits for one log_batch request.
_PARAMS_AT_ONCE, _METRICS_AT_ONCE = 100, 1000
_REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")
"""Codes of MLflow's errors that concern only the run that is sent."""
_OTHER_VERSION = re.compile("out-of-date database schema|can't locate revision", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class MirrorRun:
    """One MLflow run to log."""

    id: str
    """Id of the stage or cell; unique within an experiment."""
    name: str
    started_ms: int
    """Unix time in milliseconds."""
    ended_ms: int
    """Unix time in milliseconds; also the time of the metrics, so that logging again changes nothing."""
    params: Mapping[str, str]
    """By names that MLflow accepts (see ``names.name_of``)."""
    metrics: tuple[tuple[str, float, int], ...]
    """(name, value, step), by names that MLflow accepts."""
    tags: Mapping[str, str]
    artifacts: tuple[Path, ...] = field(default=())
    """Files to attach."""
    encoder: Path | None = None
    """Folder of an exported encoder to log as an MLflow model; None for no model."""


def _save_model(folder: Path, path: Path) -> None:
    """Save an encoder as an MLflow model, written by ``torch.export`` and so without a pickle.

    ``mlflow.pytorch.load_model`` loads it. It takes float32 images (n, 3, S, S), as described on its
    card, and returns features (n, feature_dim).
    """
    import torch
    from mlflow import pytorch

    from ssl_sweep.ssl_core.training.encoder_files import CARD_FILE, load_encoder

    encoder, size = load_encoder(folder), json.loads((folder / CARD_FILE).read_text())["image_size"]
    example = torch.zeros(2, 3, size, size).numpy()
    versions = [f"torch=={torch.__version__.split('+')[0]}"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytorch.save_model(
            encoder, path, serialization_format="pt2", input_example=example, pip_requirements=versions
        )


def local_uri(folder: Path) -> str:
    """Return the default tracking address, an SQLite database in ``folder``."""
    return sqlite_uri(folder / "mlflow.db")


def other_version(error: BaseException) -> bool:
    """Whether MLflow refuses a database because another version of MLflow created it."""
    return bool(_OTHER_VERSION.search(str(error)))


def model_of(id: str) -> str:
    """Return what stands for the model of the run ``id`` in lists of ids."""
    return f"{id}/model"


class Tracker:
    """An experiment on a tracking server or in a database. Logging a run twice changes nothing."""

    def __init__(self, uri: str, experiment: str, artifacts: Path | None) -> None:
        """Open or create an experiment.

        Args:
            uri: Address of the server or database.
            experiment: Name of the experiment.
            artifacts: Folder for the files of a new experiment; None leaves that to the server.
        """
        self._client = _client(uri)
        name = name_of(experiment, (DEFAULT_EXPERIMENT,))
        self._experiment = _experiment(self._client, name, artifacts)
        self.refused: dict[str, str] = {}
        """Id of each run or model that MLflow refused → its name, and why."""
        self._finished, self._half_written, self._models = self._look()

    def existing(self) -> frozenset[str]:
        """Return the ids of all finished runs, and ``model_of`` the ids of those with a model."""
        return frozenset(self._finished) | {model_of(id) for id in self._models}

    def _look(self) -> tuple[dict[str, str], dict[str, str], set[str]]:
        """Read all runs, and delete doubles: writers of two stores may log the same id at the same time.

        The finished one stays, or else the first.

        Returns:
            id → run id of finished runs; id → run id of runs that a killed writer left; ids with a model.
        """
        finished: dict[str, str] = {}
        half_written: dict[str, str] = {}
        models: set[str] = set()
        for run in sorted(self._runs(), key=lambda run: (run.info.status != "FINISHED", run.info.run_id)):
            if (id := run.data.tags.get(ID_TAG)) is None:
                continue
            if id in finished or id in half_written:
                self._client.delete_run(run.info.run_id)
                continue
            (finished if run.info.status == "FINISHED" else half_written)[id] = run.info.run_id
            if MODEL_TAG in run.data.tags:
                models.add(id)
        return finished, half_written, models

    def _runs(self) -> Iterator[Run]:
        token = None
        while True:
            page = self._client.search_runs([self._experiment], max_results=_PAGE, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def log(self, runs: Iterable[MirrorRun]) -> int:
        """Write the runs and models that are not there yet; returns how many runs were written or changed.

        A run that MLflow refuses is added to ``refused``, and the others are written.
        """
        from mlflow.exceptions import MlflowException

        written = 0
        for run in runs:
            try:
                written += self._log(run)
            except MlflowException as error:
                if error.error_code not in _REFUSALS:
                    raise
                self.refused[run.id] = f"{run.name}: {first_line(error)}"
        return written

    def _log(self, run: MirrorRun) -> bool:
        """Write a run or its model; returns False if both are there."""
        if run.id not in self._finished:
            self._finished[run.id] = self._write(run)
            return True
        if run.encoder is None or run.id in self._models:
            return False
        return self._add_model(run, self._finished[run.id])

    def _add_model(self, run: MirrorRun, run_id: str) -> bool:
        """Log a model under ``model/``; returns False if the encoder cannot be exported.

        The tag comes last, so that a model left half written is written again.
        """
        assert run.encoder is not None
        with scratch("model") as folder:
            try:
                _save_model(run.encoder, folder / "model")
            except Exception as error:  # whatever torch.export says about an encoder
                self.refused[model_of(run.id)] = f"the model of {run.name}: {first_line(error)}"
                return False
            self._client.log_artifacts(run_id, str(folder / "model"), "model")
        self._client.set_tag(run_id, MODEL_TAG, "model")
        self._models.add(run.id)
        return True

    def files_at(self) -> str:
        """Return the address of the folder with the files of this experiment's runs."""
        return str(self._client.get_experiment(self._experiment).artifact_location)

    def attach(self, id: str, name: str, tags: Mapping[str, str], files: Iterable[tuple[Path, str]]) -> None:
        """Attach files to the run with this id; it is created if needed, and earlier files are replaced.

        Args:
            id: Id of the run; such a run has no metrics.
            name: Name of a new run.
            tags: Tags to set.
            files: Each file with the folder to show it in, '' for none.
        """
        found = self._client.search_runs([self._experiment], f"tags.`{ID_TAG}` = '{id}'", max_results=1)
        if found:
            run_id = found[0].info.run_id
        else:
            run_id = self._client.create_run(self._experiment, tags={ID_TAG: id}, run_name=name).info.run_id
        for key, value in tags.items():
            self._client.set_tag(run_id, key, value)
        for path, folder in files:
            self._client.log_artifact(run_id, str(path), folder or None)
        self._client.set_terminated(run_id, "FINISHED")

    def _write(self, run: MirrorRun) -> str:
        """Write a run and return its id in MLflow.

        The status comes last. Until then the run counts as half written: the next writer completes it, or
        replaces it if its parameters differ.
        """
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException

        metrics = [Metric(name, value, run.ended_ms, step) for name, value, step in run.metrics]
        params = [Param(key, value_of(value, MAX_PARAM)) for key, value in run.params.items()]
        run_id = self._half_written.get(run.id) or self._new(run)
        try:
            self._client.log_batch(run_id, metrics[:_METRICS_AT_ONCE], params[:_PARAMS_AT_ONCE])
        except MlflowException as error:
            if error.error_code not in _REFUSALS:
                raise
            self._client.delete_run(run_id)
            if self._half_written.pop(run.id, None) is None:
                raise
            return self._write(run)
        for start in range(_METRICS_AT_ONCE, len(metrics), _METRICS_AT_ONCE):
            self._client.log_batch(run_id, metrics[start : start + _METRICS_AT_ONCE])
        for path in run.artifacts:
            self._client.log_artifact(run_id, str(path))
        if run.encoder is not None:
            self._add_model(run, run_id)
        self._client.set_terminated(run_id, "FINISHED", run.ended_ms)
        return run_id

    def _new(self, run: MirrorRun) -> str:
        tags = {ID_TAG: run.id, **run.tags}
        name = value_of(run.name, MAX_NAME)
        created = self._client.create_run(self._experiment, run.started_ms, tags, name)
        return str(created.info.run_id)


def require_answer(uri: str) -> None:
    """Ask the server for one experiment; raises MLflow's exception if it does not answer."""
    _client(uri).search_experiments(max_results=1)


def _client(uri: str) -> MlflowClient:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # else a locked database prints its traceback
    if (database := sqlite_file(uri)) is not None:
        _make_database(MlflowClient, database)
    client = MlflowClient(tracking_uri=uri)
    if "%" in uri and database is not None:  # MLflow creates the folder of the address as it is written
        _remove_empty(Path(uri.removeprefix("sqlite:///")).parent)
    return client


def _remove_empty(folder: Path) -> None:
    """Delete an empty folder, and the folders above it that are then empty."""
    with suppress(OSError):
        for each in (folder, *folder.parents):
            each.rmdir()


def _make_database(client: type[MlflowClient], final: Path) -> None:
    """Create the SQLite database if it does not exist.

    MLflow creates a database in about forty steps, and refuses forever one that was left between two of them.
    So it is created elsewhere, and appears here complete or not at all.
    """
    if final.exists():
        return
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = temporary(final.parent, final.name)
    with scratch("mlflow") as folder:
        made = folder / "mlflow.db"
        client(tracking_uri=sqlite_uri(made)).search_experiments(max_results=1)
        try:
            shutil.copyfile(made, partial)
            appear(partial, final)  # unless another writer was faster
        finally:
            partial.unlink(missing_ok=True)


def _experiment(client: MlflowClient, name: str, artifacts: Path | None) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifacts.as_uri() if artifacts else None))
        except MlflowException:  # another writer created it in the meantime
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)
