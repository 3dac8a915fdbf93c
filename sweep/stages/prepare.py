"""The stage ``prepare``: decode a dataset's images once and index them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict

from ssl_sweep.data_ops.dataset.prepared import DatasetManifest
from ssl_sweep.data_ops.preparation.prepare import prepare
from ssl_sweep.sweep.planning.stages import PlannedStage
from ssl_sweep.sweep.spec.specs import PrepareSpec
from ssl_sweep.sweep.stages.context import StageInterrupted
from ssl_sweep.sweep.stages.inputs import Inputs
from ssl_sweep.sweep.store.provenance import run_record
from ssl_sweep.sweep.store.store import Store


def prepare_dataset(
    id: str,
    spec: PrepareSpec,
    store: Store,
    on_progress: Callable[[int, int], None] | None = None,
    threads: int = 1,
) -> DatasetManifest:
    """Write the prepared copy of a dataset and commit it.

    Args:
        id: Id of the stage.
        spec: What to prepare.
        store: Where to write.
        on_progress: Called as ``on_progress(done, total)``, in images.
        threads: Threads that decode.
    """
    return _prepare(id, spec, store, on_progress, threads)[0]


def commit_prepared(stage: PlannedStage, spec: PrepareSpec, inputs: Inputs) -> bool:
    """Prepare a dataset within a run; False if another process committed the stage first.

    Raises:
        StageInterrupted: the run was asked to stop. The images decoded so far are kept for the next run.
    """

    def stop_between_chunks(done: int, total: int) -> None:
        if inputs.runtime.stop_requested():
            raise StageInterrupted

    return _prepare(stage.id, spec, inputs.store, stop_between_chunks, threads=1)[1]


def _prepare(
    id: str, spec: PrepareSpec, store: Store, on_progress: Callable[[int, int], None] | None, threads: int
) -> tuple[DatasetManifest, bool]:
    started = time.time()
    manifest = prepare(spec.source, spec.size, store.path("prepare", id) / "data", on_progress, threads)
    return manifest, store.commit("prepare", id, spec, (), asdict(manifest), run_record(started))
